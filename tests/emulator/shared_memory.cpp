// Shared memory: its addresses, and who has written to it without telling the other proxy.
#include <cstdint>
#include <cstring>
#include <string>

#include "block.hpp"

namespace seesaw::emulator {

using namespace detail;

namespace {

constexpr size_t kChunkBytes = 16;  // that writes are noted by
alignas(1024) unsigned char shared[kSharedBytes];

}  // namespace

void detail::start_shared_memory() {
  block->writer.assign(kSharedBytes / kChunkBytes, 0);
  std::memset(shared, conditions.shared_starts_as, sizeof(shared));
}

unsigned char* shared_memory() { return shared; }

unsigned char* shared_at(uint32_t address, size_t bytes) {
  if (address + bytes > block->shared_bytes) {
    fault("shared memory at " + std::to_string(address) + ", the block has " +
          std::to_string(block->shared_bytes) + " bytes");
  }
  return shared + address;
}

uint32_t shared_address(const void* pointer) {
  const auto* byte = static_cast<const unsigned char*>(pointer);
  if (byte < shared || byte >= shared + kSharedBytes) fault("no address in dynamic shared memory");
  return static_cast<uint32_t>(byte - shared);
}

void note_write(uint32_t address, size_t bytes) {
  for (size_t chunk = address / kChunkBytes; chunk <= (address + bytes - 1) / kChunkBytes;
       ++chunk) {
    const auto writer = static_cast<uint16_t>(current().index + 1);
    if (block->writer[chunk] == writer) continue;
    block->writer[chunk] = writer;
    current().unpublished.push_back(static_cast<uint16_t>(chunk));
  }
}

void publish_writes() {
  if (ignores_all(Ignored::What::kProxyFences)) return;
  for (const uint16_t chunk : current().unpublished) {
    if (block->writer[chunk] == current().index + 1) block->writer[chunk] = 0;
  }
  current().unpublished.clear();
}

void check_published(uint32_t address, size_t bytes) {
  for (size_t chunk = address / kChunkBytes; chunk <= (address + bytes - 1) / kChunkBytes;
       ++chunk) {
    if (block->writer[chunk] != 0) {
      fault("shared memory at " + std::to_string(chunk * kChunkBytes) + ", written by thread " +
            std::to_string(block->writer[chunk] - 1) +
            ", is read by a product before that thread's fence.proxy.async");
    }
  }
}

}  // namespace seesaw::emulator
