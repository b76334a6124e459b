#include "layers/checkpoint.hpp"

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>

#include "base/checked.hpp"
#include "files/failure.hpp"
#include "files/mapped_file.hpp"
#include "layers/refusal.hpp"

namespace seesaw::layers {
namespace {

namespace fs = std::filesystem;
using files::FileDType;
using files::TensorEntry;
using Json = nlohmann::json;

std::string text_of(const fs::path& path) {
  const files::MappedFile file(path.string());
  return {reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size()};
}

Status damaged_index(const fs::path& path) {
  return bad(fmt::format("{} without names of files in weight_map", path.string()),
             "an index of safetensors files beside it", "Download the checkpoint again.");
}

// Files that the index names for the prefix. Names lead to files of the folder only.
Status files_of_index(const fs::path& path, const std::string& prefix,
                      std::set<std::string>* found) {
  const Json index = Json::parse(text_of(path), nullptr, /*allow_exceptions=*/false);
  const auto map = index.is_object() ? index.find("weight_map") : index.end();
  if (!index.is_object() || map == index.end() || !map->is_object()) {
    return damaged_index(path);
  }
  for (const auto& [name, file] : map->items()) {
    if (!name.starts_with(prefix)) {
      continue;
    }
    const std::string file_name = file.is_string() ? file.get<std::string>() : "";
    if (file_name.empty() || fs::path(file_name).filename() != file_name) {
      return damaged_index(path);
    }
    found->insert(file_name);
  }
  return {};
}

Status find_files(const fs::path& folder, const std::string& prefix, std::set<std::string>* found) {
  const fs::path index = folder / "model.safetensors.index.json";
  if (fs::exists(index)) {
    return files_of_index(index, prefix, found);
  }
  for (const fs::directory_entry& file : fs::directory_iterator(folder)) {
    if (file.path().extension() == ".safetensors") {
      found->insert(file.path().filename().string());
    }
  }
  return {};
}

// Of dtypes that a layer does not take, 0: it refuses them if it needs the tensor.
int32_t dtype_of(FileDType dtype) {
  switch (dtype) {
    case FileDType::kF32:
      return SEESAW_FLOAT32;
    case FileDType::kBF16:
      return SEESAW_BFLOAT16;
    case FileDType::kF16:
      return SEESAW_FLOAT16;
    case FileDType::kF8E4M3:
      return SEESAW_UINT8;
    default:
      return 0;
  }
}

seesaw_tensor tensor_of(const files::SafetensorsFile& file, const TensorEntry& entry) {
  seesaw_tensor tensor{};
  tensor.data = const_cast<std::byte*>(file.tensor_bytes() + entry.begin);
  tensor.rank = static_cast<int32_t>(std::min<size_t>(entry.shape.size(), SEESAW_MAX_RANK + 1));
  tensor.dtype = dtype_of(entry.dtype);
  tensor.device = {SEESAW_CPU, 0};
  int64_t stride = 1;
  for (size_t i = std::min<size_t>(entry.shape.size(), SEESAW_MAX_RANK); i-- > 0;) {
    tensor.shape[i] = entry.shape[i];
    tensor.stride[i] = stride;
    if (!checked_mul(stride, std::max<int64_t>(entry.shape[i], 1), &stride)) {
      stride = 0;  // of an empty tensor, whose shape is refused
    }
  }
  return tensor;
}

}  // namespace

Status read_checkpoint(const std::string& folder, const std::string& prefix,
                       Checkpoint* checkpoint) {
  try {
    checkpoint->config = text_of(fs::path(folder) / "config.json");
    std::set<std::string> found;
    SEESAW_RETURN_IF_ERROR(find_files(folder, prefix, &found));
    std::vector<seesaw_tensor> tensors;
    for (const std::string& name : found) {
      checkpoint->files.emplace_back((fs::path(folder) / name).string());
      const files::SafetensorsFile& file = checkpoint->files.back();
      for (const TensorEntry& entry : file.header().tensors) {
        if (entry.name.starts_with(prefix)) {
          checkpoint->names.push_back(entry.name);
          tensors.push_back(tensor_of(file, entry));
        }
      }
    }
    for (size_t i = 0; i < tensors.size(); ++i) {  // names no longer move
      checkpoint->tensors.push_back({checkpoint->names[i].c_str(), tensors[i]});
    }
    return {};
  } catch (const files::Failure& failure) {
    return invalid_argument(fmt::format("{}: {}", kWhere, failure.what()));
  } catch (const fs::filesystem_error& error) {
    return bad(fmt::format("folder {}: {}", folder, error.code().message()),
               "a readable folder with config.json and safetensors files", "Check the path.");
  }
}

}  // namespace seesaw::layers
