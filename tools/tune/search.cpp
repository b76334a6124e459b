#include "tune/search.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <set>

namespace seesaw::tools {
namespace {

constexpr int64_t kRaceRounds = 9;        // samples of a value that stays in its race
constexpr int64_t kRoundsBeforeDrop = 3;  // before that, nothing drops out
constexpr double kClearlySlower = 1.05;   // drops out: a median this far behind, and even the
                                          // fastest sample slower than the leader's median
constexpr double kWorthMoving = 0.99;     // of the current median, to move to another value
constexpr double kSearchShare = 0.7;      // of the budget; the rest is for the final pairs
constexpr int64_t kFewestPairs = 7;
constexpr int64_t kPairsWhenStopped = 3;
constexpr int64_t kMostPairs = 200;
constexpr double kWorthKeeping = 1.02;  // least speed-up, and in how many pairs it has to show
constexpr double kWinsNeeded = 0.7;

struct Runner {
  Setting setting;
  std::vector<double> us;

  double median() const { return spread_of(us).median; }
  double fastest() const { return *std::min_element(us.begin(), us.end()); }
};

class Search {
 public:
  Search(Tunable& tunable, const SearchLimits& limits) : tunable_(tunable), limits_(limits) {}

  SearchResult run(const std::vector<Knob>& knobs) {
    Setting current;
    for (bool moved = true; moved && !over(kSearchShare);) {
      moved = false;
      for (const Knob& knob : knobs) {
        const Setting next = race(knob, current);
        moved = moved || next != current;
        current = next;
        if (over(kSearchShare)) {
          break;
        }
      }
    }
    result_.contender = current;
    compare_with_default();
    result_.stopped = limits_.stop();
    return result_;
  }

 private:
  bool over(double share) const {
    return limits_.stop() || limits_.elapsed_seconds() > share * limits_.budget_seconds;
  }

  std::vector<Runner> runners_of(const Knob& knob, const Setting& current) {
    std::vector<Runner> runners = {{current, {}}};
    std::set<std::string> known = {tunable_.fingerprint(current)};
    for (const int32_t value : knob.values) {
      Setting setting = current;
      setting[knob.name] = value;
      const std::string fingerprint = tunable_.fingerprint(setting);
      if (!fingerprint.empty() && known.insert(fingerprint).second) {
        runners.push_back({setting, {}});
      }
    }
    return runners;
  }

  // The fastest value of the knob, everything else as in `current`.
  Setting race(const Knob& knob, const Setting& current) {
    std::vector<Runner> runners = runners_of(knob, current);
    if (runners.size() == 1) {
      return current;
    }
    std::vector<Setting> settings;
    for (const Runner& runner : runners) {
      settings.push_back(runner.setting);
    }
    tunable_.keep_only(settings);
    std::vector<Runner*> running;
    for (Runner& runner : runners) {
      tunable_.sample_us(runner.setting);  // warms up
      running.push_back(&runner);
    }
    for (int64_t round = 0; round < kRaceRounds && running.size() > 1 && !over(kSearchShare);
         ++round) {
      for (Runner* runner : running) {
        limits_.report(setting_text(runner->setting));
        runner->us.push_back(tunable_.sample_us(runner->setting));
      }
      if (round + 1 >= kRoundsBeforeDrop) {
        drop_slow(&running);
      }
    }
    return fastest(runners);
  }

  static void drop_slow(std::vector<Runner*>* running) {
    double best = running->front()->median();
    for (const Runner* runner : *running) {
      best = std::min(best, runner->median());
    }
    std::erase_if(*running, [best](const Runner* runner) {
      return runner->median() > kClearlySlower * best && runner->fastest() > best;
    });
  }

  // `runners` begins with the current setting.
  Setting fastest(const std::vector<Runner>& runners) {
    const Runner* best = &runners.front();
    for (const Runner& runner : runners) {
      if (runner.us.empty()) {  // the budget ended before the race began
        return runners.front().setting;
      }
      result_.tried.push_back(
          {runner.setting, spread_of(runner.us), static_cast<int64_t>(runner.us.size())});
      best = runner.median() < best->median() ? &runner : best;
    }
    return best->median() < kWorthMoving * runners.front().median() ? best->setting
                                                                    : runners.front().setting;
  }

  void compare_with_default() {
    const Setting standard;
    const Setting& best = result_.contender;
    const bool same = best == standard;
    tunable_.keep_only(same ? std::vector{standard} : std::vector{standard, best});
    std::vector<double> standard_us;
    std::vector<double> best_us;
    std::vector<double> ratios;
    int64_t wins = 0;
    tunable_.sample_us(standard);
    tunable_.sample_us(best);
    const int64_t fewest = limits_.stop() ? kPairsWhenStopped : kFewestPairs;
    const int64_t most = same ? fewest : kMostPairs;
    for (int64_t pair = 0; pair < most && (pair < fewest || !over(1.0)); ++pair) {
      limits_.report(fmt::format("default against {}", setting_text(best)));
      // Which of the two comes first alternates: the second may profit from the first.
      const bool best_first = pair % 2 == 1;
      const double first = tunable_.sample_us(best_first ? best : standard);
      const double second = same ? first : tunable_.sample_us(best_first ? standard : best);
      standard_us.push_back(best_first ? second : first);
      best_us.push_back(best_first ? first : second);
      ratios.push_back(standard_us.back() / best_us.back());
      wins += ratios.back() > 1 ? 1 : 0;
    }
    result_.default_us = spread_of(standard_us);
    result_.best_us = spread_of(best_us);
    result_.speedup = spread_of(ratios);
    result_.pairs = static_cast<int64_t>(ratios.size());
    result_.wins = static_cast<double>(wins) / static_cast<double>(ratios.size());
    const bool worth = result_.speedup.median >= kWorthKeeping && result_.wins >= kWinsNeeded;
    if (worth) {
      result_.best = best;
    } else {
      result_.best_us = result_.default_us;
    }
  }

  Tunable& tunable_;
  const SearchLimits& limits_;
  SearchResult result_;
};

}  // namespace

SearchResult search(Tunable& tunable, const std::vector<Knob>& knobs, const SearchLimits& limits) {
  return Search(tunable, limits).run(knobs);
}

std::string setting_text(const Setting& setting) {
  std::string text;
  for (const auto& [name, value] : setting) {
    text += fmt::format("{}{} {}", text.empty() ? "" : ", ", name, value);
  }
  return text.empty() ? "default" : text;
}

}  // namespace seesaw::tools
