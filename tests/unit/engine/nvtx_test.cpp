// The ranges that a profiler sees, with a profiler of the test's own: NVTX hands its callbacks to a
// linked one through the symbol InitializeInjectionNvtx2_fnptr.
#include <gtest/gtest.h>
#include <nvtx3/nvToolsExt.h>

#include <string>
#include <vector>

#include "support/decode_run.hpp"

namespace seesaw::testing {
namespace {

// What was reported, in order: "push NAME", "pop"; and the domains' names, once a process.
std::vector<std::string>& events() {
  static std::vector<std::string> list;
  return list;
}
std::vector<std::string>& domains() {
  static std::vector<std::string> list;
  return list;
}

nvtxDomainHandle_t domain_handle() {
  static int anything = 0;
  return reinterpret_cast<nvtxDomainHandle_t>(&anything);
}

nvtxDomainHandle_t NVTX_API create_domain(const char* name) {
  domains().push_back(name);
  return domain_handle();
}

int NVTX_API push_range(nvtxDomainHandle_t domain, const nvtxEventAttributes_t* event) {
  EXPECT_EQ(domain, domain_handle());
  EXPECT_EQ(event->size, sizeof(*event));
  EXPECT_EQ(event->messageType, NVTX_MESSAGE_TYPE_ASCII);
  events().push_back(std::string("push ") + event->message.ascii);
  return 0;
}

int NVTX_API pop_range(nvtxDomainHandle_t domain) {
  EXPECT_EQ(domain, domain_handle());
  events().push_back("pop");
  return 0;
}

template <typename Function>
void hook(NvtxFunctionTable table, int index, Function* function) {
  *table[index] = reinterpret_cast<NvtxFunctionPointer>(function);
}

int NVTX_API attach(NvtxGetExportTableFunc_t get_export_table) {
  const auto* callbacks =
      static_cast<const NvtxExportTableCallbacks*>(get_export_table(NVTX_ETID_CALLBACKS));
  NvtxFunctionTable table = nullptr;
  unsigned int size = 0;
  if (callbacks == nullptr ||
      !callbacks->GetModuleFunctionTable(NVTX_CB_MODULE_CORE2, &table, &size)) {
    return 0;
  }
  hook(table, NVTX_CBID_CORE2_DomainCreateA, create_domain);
  hook(table, NVTX_CBID_CORE2_DomainRangePushEx, push_range);
  hook(table, NVTX_CBID_CORE2_DomainRangePop, pop_range);
  return 1;
}

// NVTX defines the symbol weakly, as null, in every file that includes it.
[[maybe_unused]] const bool attached_before_main =
    (InitializeInjectionNvtx2_fnptr = attach) != nullptr;

TEST(Nvtx, ARangeAroundEachPlanPrepareAndRun) {
  const DecodeCase test_case({.seq_lens = {100, 3}, .h_q = 4});
  events().clear();
  run_case(test_case, {.kernel = "cpu.dense_decode", .threads = 2});
  const std::vector<std::string> expected = {"push plan_create dense_decode",      "pop",
                                             "push plan_prepare cpu.dense_decode", "pop",
                                             "push plan_run cpu.dense_decode",     "pop"};
  EXPECT_EQ(events(), expected);
  EXPECT_EQ(domains(), std::vector<std::string>{"seesaw"});
}

TEST(Nvtx, ARefusedCallEndsItsRangeToo) {
  events().clear();
  EXPECT_EQ(seesaw_plan_run(nullptr, nullptr, nullptr), SEESAW_INVALID_ARGUMENT);
  EXPECT_EQ(events(), (std::vector<std::string>{"push plan_run", "pop"}));
}

}  // namespace
}  // namespace seesaw::testing
