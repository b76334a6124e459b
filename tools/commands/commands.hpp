// Every command registers itself on the parser and runs when it is the one that was typed. A
// command reports failure by throwing; see error.hpp.
#pragma once

#include <string>

namespace CLI {
class App;
}

namespace seesaw::tools {

void register_info(CLI::App& app);
void register_run(CLI::App& app);
void register_cache(CLI::App& app);
void register_make_case(CLI::App& app);
void register_check(CLI::App& app);
void register_compare(CLI::App& app);
void register_explain(CLI::App& app);
void register_plan(CLI::App& app);
void register_bench(CLI::App& app);
void register_ladder(CLI::App& app);
// The same of an operation with flags of its own.
void register_sparse_explain(CLI::App& app, const std::string& operation);
void register_sparse_bench(CLI::App& app, const std::string& operation);
void register_tune(CLI::App& app);
void register_profile(CLI::App& app);

}  // namespace seesaw::tools
