// Products of a warp, at once or when they are waited for.
#include <cstddef>
#include <deque>

#include "block.hpp"

namespace seesaw::emulator {

using namespace detail;

namespace {

void run_oldest(Warp& warp) {
  const WarpProduct& product = warp.products.front();
  product.run(product);
  warp.products.pop_front();
  ++warp.products_done;
}

}  // namespace

void issue_product(const WarpProduct& product) {
  Warp& warp = current_warp();
  const size_t place = current().products_issued++ - warp.products_done;
  if (place == warp.products.size()) warp.products.push_back(product);
  WarpProduct& whole = warp.products[place];
  if (whole.run != product.run || whole.a != product.a || whole.b != product.b ||
      whole.accumulate != product.accumulate) {
    fault("the lanes of a warp issue different products");
  }
  whole.lanes[lane()] = product.lanes[lane()];
  if (++whole.issued == kWarp && conditions.timing == Timing::kEager) run_oldest(warp);
}

void commit_products() { current().group_ends.push_back(current().products_issued); }

void wait_for_products(size_t groups_left) {
  if (ignores_all(Ignored::What::kProductWaits)) return;
  sync_warp();  // so every lane has issued what is waited for
  std::deque<size_t>& ends = current().group_ends;
  for (; ends.size() > groups_left; ends.pop_front()) {
    Warp& warp = current_warp();
    while (warp.products_done < ends.front()) run_oldest(warp);
  }
}

}  // namespace seesaw::emulator
