// The cost model that the study notes give for multi-head attention and traditional MLA, evaluated
// as it stands there: N tokens, H heads, D head_dim, D' latent. What the library's own count says
// (compare/shape.hpp) differs: it counts both products of attention, two operations a multiply-add,
// and the layer's projections.
#pragma once

#include <cstdint>

namespace seesaw::tools {

struct NotesShape {
  int64_t batch = 1;
  int64_t tokens = 0;
  int64_t heads = 0;
  int64_t head_dim = 0;
  int64_t latent = 0;
};

struct NotesModel {
  double mha = 0;        // 2 H N^2 D
  double mla_ideal = 0;  // 2 N^2 D' + 2 H N D
  double overhead = 0;   // 3 H N D D' + H N D' D: latent projections, reconstruction
  double mha_bytes = 0;  // H N^2 * 4
  double mla_bytes = 0;  // N^2 * 4 + H N D * 4

  double ideal_speed_up() const { return mha / mla_ideal; }
  double speed_up() const { return mha / (mla_ideal + overhead); }
  double overhead_ratio() const { return overhead / mla_ideal; }
};

constexpr NotesModel notes_model(const NotesShape& s) {
  const auto n = static_cast<double>(s.tokens);
  const auto h = static_cast<double>(s.heads);
  const auto d = static_cast<double>(s.head_dim);
  const auto latent = static_cast<double>(s.latent);
  const auto b = static_cast<double>(s.batch);
  NotesModel model;
  model.mha = b * 2 * h * n * n * d;
  model.mla_ideal = b * (2 * n * n * latent + 2 * h * n * d);
  model.overhead = b * (3 * h * n * d * latent + h * n * latent * d);
  model.mha_bytes = b * h * n * n * 4;
  model.mla_bytes = b * (n * n * 4 + h * n * d * 4);
  return model;
}

}  // namespace seesaw::tools
