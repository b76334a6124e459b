// The split-KV schedule as properties, over thousands of random batches, and a few cases whose
// right answer is known. docs/decisions/0003-split-kv-schedule.md derives the bounds.
#include "split/split_kv.hpp"

#include <gtest/gtest.h>

#include <climits>
#include <cstring>
#include <random>
#include <vector>

#include "split/check_schedule.hpp"
#include "split/split_kv_math.hpp"
#include "unit/split/schedule_buffer.hpp"

namespace seesaw::split {
namespace {

using SeqLens = std::vector<int32_t>;

struct RandomBatch {
  SplitConfig config;
  SeqLens seq_lens;
};

// Uniform, equal, skewed and tiny (with zero and negative) lengths; few and many sequences; one row
// group or several.
RandomBatch random_batch(std::mt19937& engine) {
  const auto below = [&](int32_t n) {
    return std::uniform_int_distribution<int32_t>(0, n - 1)(engine);
  };
  const int32_t longest = below(4) == 0 ? 3 : below(2) == 0 ? 2'000 : 200'000;
  const int32_t shape = below(4);
  SeqLens seq_lens(static_cast<size_t>(below(3) == 0 ? below(400) : below(10)));
  for (int32_t& length : seq_lens) {
    switch (shape) {
      case 0:
        length = longest;
        break;
      case 1:
        length = below(longest + 1);
        break;
      case 2:
        length = below(10) == 0 ? longest : below(50);
        break;
      default:
        length = below(4) - 1;
    }
  }
  SplitConfig config = config_for(seq_lens, 1 + below(140), 1 + below(128), below(10));
  config.max_batch += below(3) * 5;
  config.max_sequence_tiles += below(2) * 7;
  config.split_cost_tiles = below(3) == 0 ? below(30) : 0;
  config.deal_rest = below(2);
  config.row_groups = below(2) == 0 ? 1 : 1 + below(seq_lens.size() < 20 ? 40 : 4);
  return {config, seq_lens};
}

// A size for batch-invariant splits that gives a sequence up to some 64 of them.
int32_t random_fixed_split(const SplitConfig& config, std::mt19937& engine) {
  return std::max(1 + static_cast<int32_t>(engine() % 64), config.max_sequence_tiles / 64);
}

int64_t total_tiles(const RandomBatch& batch) {
  int64_t sum = 0;
  for (const int32_t length : batch.seq_lens) {
    sum += tiles_of(length, batch.config.tile_tokens);
  }
  return sum * batch.config.row_groups;
}

int32_t items_of(const RandomBatch& batch) {
  return static_cast<int32_t>(batch.seq_lens.size()) * batch.config.row_groups;
}

// Every tile of every row group of every sequence exactly once, in order; partial slots distinct
// and in range; every worker's pieces contiguous; sizes within what was reserved.
void expect_well_formed(const RandomBatch& batch, ScheduleBuffer& schedule) {
  const SplitConfig& config = batch.config;
  const ScheduleView view = schedule.view();
  const auto b = static_cast<int32_t>(batch.seq_lens.size());
  ASSERT_TRUE(schedule.intact());
  ASSERT_EQ(view.header->magic, kScheduleMagic);
  ASSERT_EQ(view.header->batch, b);
  ASSERT_LE(view.header->num_pieces, max_pieces(config));
  ASSERT_EQ(view.item_piece_begin[0], 0);
  ASSERT_EQ(view.header->row_groups, config.row_groups);
  ASSERT_EQ(view.item_piece_begin[items_of(batch)], view.header->num_pieces);
  std::vector<bool> slot_taken(static_cast<size_t>(max_partials(config)), false);
  for (int32_t i = 0; i < items_of(batch); ++i) {
    const int32_t sequence = i / config.row_groups;
    const std::vector<Piece> pieces = schedule.pieces_of_item(i);
    ASSERT_FALSE(pieces.empty()) << "nobody writes sequence " << sequence;
    int32_t next_tile = 0;
    for (const Piece& piece : pieces) {
      ASSERT_EQ(piece.sequence, sequence);
      ASSERT_EQ(piece.row_group, i % config.row_groups);
      ASSERT_EQ(piece.tile_begin, next_tile);
      next_tile = piece.tile_end;
      if (pieces.size() == 1) {
        ASSERT_EQ(piece.partial, -1);
        continue;
      }
      ASSERT_LT(piece.tile_begin, piece.tile_end) << "an empty piece of a split sequence";
      ASSERT_GE(piece.partial, 0);
      ASSERT_LT(piece.partial, max_partials(config));
      ASSERT_FALSE(slot_taken[static_cast<size_t>(piece.partial)]);
      slot_taken[static_cast<size_t>(piece.partial)] = true;
    }
    ASSERT_EQ(next_tile,
              tiles_of(batch.seq_lens[static_cast<size_t>(sequence)], config.tile_tokens));
  }
  ASSERT_EQ(view.worker_pieces[0].begin, 0);
  const int32_t rest_begin = view.worker_pieces[config.num_workers].begin;
  const int32_t rest_pieces = view.header->num_pieces - rest_begin;
  ASSERT_GE(rest_pieces, 0);
  ASSERT_LE(rest_pieces, config.deal_rest == 0 ? 0 : config.num_workers);
  for (int32_t w = 0; w < config.num_workers; ++w) {
    ASSERT_EQ(view.worker_pieces[w].rest, w < rest_pieces ? rest_begin + w : -1);
  }
  for (int32_t w = 0; w < config.num_workers; ++w) {
    ASSERT_LE(view.worker_pieces[w].begin, view.worker_pieces[w + 1].begin);
  }
  std::vector<int> visits(static_cast<size_t>(view.header->num_pieces), 0);
  visit_pieces(config, view.header, [&](int32_t worker, const Piece& piece) {
    ASSERT_LT(worker, config.num_workers);
    ++visits[static_cast<size_t>(&piece - view.pieces)];
  });
  ASSERT_EQ(visits, std::vector<int>(visits.size(), 1));
}

TEST(SplitKv, TilesOfALength) {
  EXPECT_EQ(tiles_of(0, 64), 0);
  EXPECT_EQ(tiles_of(-1, 64), 0);
  EXPECT_EQ(tiles_of(INT32_MIN, 64), 0);
  EXPECT_EQ(tiles_of(1, 64), 1);
  EXPECT_EQ(tiles_of(64, 64), 1);
  EXPECT_EQ(tiles_of(65, 64), 2);
  EXPECT_EQ(tiles_of(INT32_MAX, 64), 1 << 25);
  EXPECT_EQ(tiles_of(INT32_MAX, 1), INT32_MAX);
}

TEST(SplitKv, BalancedSchedulesAreWellFormedAndBounded) {
  std::mt19937 engine(1);
  for (int i = 0; i < 6000; ++i) {
    const RandomBatch batch = random_batch(engine);
    ScheduleBuffer schedule(batch.config);
    schedule.build(batch.seq_lens);
    ASSERT_NO_FATAL_FAILURE(expect_well_formed(batch, schedule)) << "batch " << i;
    const int64_t cost = std::max(batch.config.piece_cost_tiles, 1);
    const int64_t quota = std::max<int64_t>(
        ceil_div<int64_t>(total_tiles(batch) + cost * items_of(batch), batch.config.num_workers),
        1);
    const int64_t split_cost = batch.config.split_cost_tiles;
    ASSERT_LE(schedule.busiest_load(), quota + std::max(2 * cost, split_cost)) << "batch " << i;
  }
}

TEST(SplitKv, BatchInvariantSchedulesAreWellFormedAndBounded) {
  std::mt19937 engine(2);
  for (int i = 0; i < 6000; ++i) {
    RandomBatch batch = random_batch(engine);
    SplitConfig& config = batch.config;
    config.fixed_split_tiles = random_fixed_split(config, engine);
    ScheduleBuffer schedule(config);
    schedule.build(batch.seq_lens);
    ASSERT_NO_FATAL_FAILURE(expect_well_formed(batch, schedule)) << "batch " << i;
    const int64_t cost = std::max(config.piece_cost_tiles, 1);
    const int64_t pieces = schedule.view().header->num_pieces;
    const int64_t quota = ceil_div<int64_t>(total_tiles(batch) + cost * pieces, config.num_workers);
    const int64_t bound =
        config.fixed_split_tiles + cost + (pieces <= config.num_workers ? 0 : quota - 1);
    ASSERT_LE(schedule.busiest_load(), bound) << "batch " << i;
  }
}

TEST(SplitKv, BatchInvariantPiecesDependOnTheSequenceAlone) {
  std::mt19937 engine(3);
  for (int i = 0; i < 300; ++i) {
    RandomBatch batch = random_batch(engine);
    batch.config.fixed_split_tiles = random_fixed_split(batch.config, engine);
    ScheduleBuffer schedule(batch.config);
    schedule.build(batch.seq_lens);
    for (size_t s = 0; s < batch.seq_lens.size(); s += 1 + s / 3) {
      SplitConfig alone_config = batch.config;
      alone_config.num_workers = 1 + static_cast<int32_t>(engine() % 8);
      alone_config.row_groups = 1;
      ScheduleBuffer alone(alone_config);
      alone.build({batch.seq_lens[s]});
      const auto in_batch = schedule.pieces_of_item(
          static_cast<int32_t>(s) * batch.config.row_groups +
          static_cast<int32_t>(engine() % static_cast<uint32_t>(batch.config.row_groups)));
      const auto by_itself = alone.pieces_of_item(0);
      ASSERT_EQ(in_batch.size(), by_itself.size());
      for (size_t k = 0; k < in_batch.size(); ++k) {
        ASSERT_EQ(in_batch[k].tile_begin, by_itself[k].tile_begin);
        ASSERT_EQ(in_batch[k].tile_end, by_itself[k].tile_end);
        ASSERT_EQ(in_batch[k].tile_begin % batch.config.fixed_split_tiles, 0);
      }
    }
  }
}

TEST(SplitKv, SameLengthsSameBytes) {
  std::mt19937 engine(4);
  for (int i = 0; i < 200; ++i) {
    const RandomBatch batch = random_batch(engine);
    ScheduleBuffer first(batch.config);
    ScheduleBuffer second(batch.config);
    first.build(batch.seq_lens);
    second.build(batch.seq_lens);
    ASSERT_EQ(std::memcmp(first.data(), second.data(), schedule_bytes(batch.config)), 0);
  }
}

TEST(SplitKv, LengthsMayBeStrided) {
  const SeqLens lengths = {100, 5, 3000, 70};
  SeqLens spread(lengths.size() * 3, -12345);
  for (size_t i = 0; i < lengths.size(); ++i) {
    spread[3 * i] = lengths[i];
  }
  ScheduleBuffer packed(config_for(lengths, 4));
  ScheduleBuffer strided(config_for(lengths, 4));
  packed.build(lengths);
  build_schedule(strided.config(), lengths_of(spread.data(), 3, INT32_MAX), 4, strided.data());
  EXPECT_EQ(std::memcmp(packed.data(), strided.data(), schedule_bytes(packed.config())), 0);
}

// A sequence's tiles are those of its streams, each in whole tiles; entries may be shared.
TEST(SplitKv, TilesOfTwoStreams) {
  const SeqLens first = {100, -3, 5000};
  const SeqLens second = {1, 64, 200};
  Lengths lengths = lengths_of(first.data(), 1, 1000);
  EXPECT_EQ(tiles_at(lengths, 0, 64), 2);
  EXPECT_EQ(tiles_at(lengths, 1, 64), 0);
  EXPECT_EQ(tiles_at(lengths, 2, 64), 16) << "a length counts as the most";
  lengths.streams[1] = {second.data(), 1, 128};
  EXPECT_EQ(tiles_at(lengths, 0, 64), 3);
  EXPECT_EQ(tiles_at(lengths, 1, 64), 1);
  EXPECT_EQ(tiles_at(lengths, 2, 64), 18);
  lengths.streams[1].lengths = nullptr;
  EXPECT_EQ(tiles_at(lengths, 1, 64), 2) << "without lengths: the most every time";
  lengths.items_per_length = 3;
  EXPECT_EQ(tiles_at(lengths, 2, 64), 4);
  EXPECT_EQ(tiles_at(lengths, 3, 64), 2);
  EXPECT_EQ(tiles_at(lengths, 8, 64), 18);

  // What is planned of them is what is planned of so many tiles.
  lengths.items_per_length = 2;
  const SeqLens same = {4 * 64, 4 * 64, 2 * 64, 2 * 64, 18 * 64, 18 * 64};
  ScheduleBuffer of_streams(config_for(same, 5));
  ScheduleBuffer of_tiles(config_for(same, 5));
  build_schedule(of_streams.config(), lengths, 6, of_streams.data());
  of_tiles.build(same);
  EXPECT_EQ(std::memcmp(of_streams.data(), of_tiles.data(), schedule_bytes(of_tiles.config())), 0);
  EXPECT_TRUE(check_schedule(of_streams.config(), lengths, 6, of_streams.data()).ok());
  lengths.streams[1].most = 64;
  EXPECT_FALSE(check_schedule(of_streams.config(), lengths, 6, of_streams.data()).ok());
}

TEST(SplitKv, NothingToDo) {
  ScheduleBuffer schedule(config_for({1, 2, 3}, 132));
  schedule.build({});
  EXPECT_EQ(schedule.view().header->num_pieces, 0);
  EXPECT_EQ(schedule.view().header->batch, 0);
  EXPECT_EQ(schedule.busiest_load(), 0);
}

TEST(SplitKv, EmptySequencesAreSpreadOverTheWorkers) {
  const SeqLens lengths(1000, 0);
  ScheduleBuffer schedule(config_for(lengths, 10));
  schedule.build(lengths);
  EXPECT_EQ(schedule.view().header->num_pieces, 1000);
  EXPECT_EQ(schedule.busiest_load(), 100);
}

// With one row group a sequence is an item, and the schedule what it is without row groups; with
// several it is that of as many sequences in the place of each.
TEST(SplitKv, RowGroupsAreScheduledLikeSequences) {
  std::mt19937 engine(7);
  for (int i = 0; i < 1000; ++i) {
    const RandomBatch batch = random_batch(engine);
    RandomBatch spread = batch;
    spread.config.row_groups = 1;
    spread.config.max_batch *= batch.config.row_groups;
    spread.seq_lens.clear();
    for (const int32_t length : batch.seq_lens) {
      spread.seq_lens.insert(spread.seq_lens.end(), static_cast<size_t>(batch.config.row_groups),
                             length);
    }
    ScheduleBuffer grouped(batch.config);
    ScheduleBuffer alone(spread.config);
    grouped.build(batch.seq_lens);
    alone.build(spread.seq_lens);
    ASSERT_EQ(grouped.view().header->num_pieces, alone.view().header->num_pieces);
    for (int32_t w = 0; w < batch.config.num_workers; ++w) {
      const std::vector<Piece> a = grouped.pieces_of_worker(w);
      const std::vector<Piece> b = alone.pieces_of_worker(w);
      ASSERT_EQ(a.size(), b.size());
      for (size_t k = 0; k < a.size(); ++k) {
        ASSERT_EQ(a[k].sequence * batch.config.row_groups + a[k].row_group, b[k].sequence);
        ASSERT_EQ(a[k].tile_begin, b[k].tile_begin);
        ASSERT_EQ(a[k].tile_end, b[k].tile_end);
        ASSERT_EQ(a[k].partial, b[k].partial);
      }
    }
  }
}

// One long sequence: every worker an equal share.
TEST(SplitKv, OneSequenceUsesEveryWorker) {
  for (const int32_t workers : {1, 2, 7, 132}) {
    const SeqLens lengths = {132 * 7 * 64 * 10};
    ScheduleBuffer schedule(config_for(lengths, workers));
    schedule.build(lengths);
    EXPECT_EQ(schedule.view().header->num_pieces, workers);
    EXPECT_EQ(schedule.busiest_load(), 132 * 7 * 10 / workers + 1);
  }
}

// At most half as many equal sequences as workers: equal pieces, none on a worker of two sequences.
TEST(SplitKv, FewEqualSequencesAreAligned) {
  const SeqLens lengths(16, 1024);  // 16 tiles each
  ScheduleBuffer schedule(config_for(lengths, 132));
  schedule.build(lengths);
  EXPECT_EQ(schedule.view().header->num_pieces, 128);  // 8 pieces of 2 tiles each
  EXPECT_EQ(schedule.busiest_load(), 3);
  for (int32_t w = 0; w < 132; ++w) {
    EXPECT_LE(schedule.pieces_of_worker(w).size(), 1U);
  }
}

// As many equal sequences as workers, or a multiple: whole sequences.
TEST(SplitKv, EqualSequencesAMultipleOfTheWorkersStayWhole) {
  for (const size_t count : {8U, 16U, 800U}) {
    const SeqLens lengths(count, 5000);
    ScheduleBuffer schedule(config_for(lengths, 8));
    schedule.build(lengths);
    EXPECT_EQ(schedule.view().header->num_pieces, static_cast<int32_t>(count));
  }
}

// Sequences that hardly differ stay whole if merging them costs more than it balances.
TEST(SplitKv, AboutEqualSequencesStayWholeIfSplittingCosts) {
  SeqLens lengths(150, 64 * 20);
  lengths[3] = 64 * 18;
  SplitConfig config = config_for(lengths, 132);
  ScheduleBuffer cut(config);
  cut.build(lengths);
  EXPECT_GT(cut.view().header->num_pieces, 150);
  config.split_cost_tiles = 20;  // two whole sequences: 42 tiles, against a quota of 24
  ScheduleBuffer whole(config);
  whole.build(lengths);
  EXPECT_EQ(whole.view().header->num_pieces, 150);
  EXPECT_EQ(whole.busiest_load(), 42);
  config.split_cost_tiles = 17;
  ScheduleBuffer cut_again(config);
  cut_again.build(lengths);
  EXPECT_GT(cut_again.view().header->num_pieces, 150);
}

// Seven equal sequences on six workers: each a whole one, and a sixth of the seventh.
TEST(SplitKv, TheRestOfEqualSequencesIsDealtOut) {
  const SeqLens lengths(7, 64 * 120);
  SplitConfig config = config_for(lengths, 6);
  config.deal_rest = 1;
  ScheduleBuffer schedule(config);
  schedule.build(lengths);
  EXPECT_EQ(schedule.view().header->num_pieces, 12);
  EXPECT_EQ(schedule.view().worker_pieces[6].begin, 6);
  EXPECT_EQ(schedule.busiest_load(), 121 + 21);
  for (int32_t w = 0; w < 6; ++w) {
    const std::vector<Piece> pieces = schedule.pieces_of_worker(w);
    ASSERT_EQ(pieces.size(), 2U);
    EXPECT_EQ(pieces[0].sequence, w);
    EXPECT_EQ(pieces[0].partial, -1);
    EXPECT_EQ(pieces[1].sequence, 6);
    EXPECT_EQ(pieces[1].tile_begin, 20 * w);
    EXPECT_EQ(pieces[1].partial, 2 * w + (w == 0 ? 1 : 0));
  }
}

// One long sequence among many short ones must not wait for the end of the line.
TEST(SplitKv, ALongSequenceAmongShortOnesIsSplit) {
  SeqLens lengths(63, 64);
  lengths.push_back(64 * 1000);
  ScheduleBuffer schedule(config_for(lengths, 8));
  schedule.build(lengths);
  EXPECT_GE(schedule.pieces_of_item(63).size(), 7U);
  EXPECT_LE(schedule.busiest_load(), (63 * 2 + 1001) / 8 + 1 + 2);
}

TEST(SplitKv, CutsLeaveNoFragmentsThatCostMoreThanTheySave) {
  std::mt19937 engine(5);
  for (int i = 0; i < 2000; ++i) {
    RandomBatch batch = random_batch(engine);
    batch.config.piece_cost_tiles = 6;
    batch.config.split_cost_tiles = 0;
    batch.config.deal_rest = 0;  // its pieces are as short as they have to be
    ScheduleBuffer schedule(batch.config);
    schedule.build(batch.seq_lens);
    const bool aligned = schedule.view().header->num_pieces <= batch.config.num_workers;
    for (int32_t s = 0; !aligned && s < items_of(batch); ++s) {
      const std::vector<Piece> pieces = schedule.pieces_of_item(s);
      if (pieces.size() > 1) {
        ASSERT_GE(pieces.front().tile_end - pieces.front().tile_begin, 4);
        ASSERT_GE(pieces.back().tile_end - pieces.back().tile_begin, 4);
      }
    }
  }
}

// 70,000 sequences of 2^31 - 1 tokens in tiles of one token: sums of 47 bits.
TEST(SplitKv, SumsDoNotOverflow) {
  const SeqLens lengths(70'000, INT32_MAX);
  RandomBatch batch{config_for(lengths, 132, 1), lengths};
  ScheduleBuffer schedule(batch.config);
  schedule.build(lengths);
  expect_well_formed(batch, schedule);
  const int64_t quota = ceil_div<int64_t>(total_tiles(batch) + 70'000, 132);
  EXPECT_LE(schedule.busiest_load(), quota + 2);
}

TEST(SplitKv, SeventyThousandShortSequences) {
  SeqLens lengths(70'000);
  for (size_t i = 0; i < lengths.size(); ++i) {
    lengths[i] = static_cast<int32_t>(i % 5) * 40;
  }
  for (const int32_t fixed_split_tiles : {0, 1}) {
    RandomBatch batch{config_for(lengths, 132), lengths};
    batch.config.fixed_split_tiles = fixed_split_tiles;
    ScheduleBuffer schedule(batch.config);
    schedule.build(lengths);
    expect_well_formed(batch, schedule);
  }
}

// The forms the device uses hold for any order of evaluation: piece_count needs no neighbour, and
// place_piece only its own span.
TEST(SplitKv, ClosedFormsGiveTheSamePieces) {
  std::mt19937 engine(6);
  for (int i = 0; i < 300; ++i) {
    RandomBatch batch = random_batch(engine);
    batch.config.split_cost_tiles = 0;
    batch.config.deal_rest = 0;
    ScheduleBuffer schedule(batch.config);
    schedule.build(batch.seq_lens);
    if (schedule.view().header->num_pieces <= batch.config.num_workers) {
      continue;  // aligned: covered by the search for its length
    }
    const SplitRule rule = range_rule(batch.config, items_of(batch), total_tiles(batch));
    const auto tiles_of_item = [&](int32_t item) {
      return tiles_of(batch.seq_lens[static_cast<size_t>(item / batch.config.row_groups)],
                      batch.config.tile_tokens);
    };
    ItemSpan span{};
    for (int32_t s = items_of(batch); s-- > 0;) {
      span.item = s;
      span.tiles = tiles_of_item(s);
      span.tiles_before = 0;
      for (int32_t before = 0; before < s; ++before) {
        span.tiles_before += tiles_of_item(before);
      }
      span.pieces_before = schedule.view().item_piece_begin[s];
      const int32_t count = piece_count(rule, span);
      const std::vector<Piece> pieces = schedule.pieces_of_item(s);
      ASSERT_EQ(count, static_cast<int32_t>(pieces.size()));
      for (int32_t k = count; k-- > 0;) {
        const PlacedPiece placed = place_piece(rule, span, count, k);
        ASSERT_EQ(std::memcmp(&placed.piece, &pieces[static_cast<size_t>(k)], sizeof(Piece)), 0);
        ASSERT_LT(placed.worker, batch.config.num_workers);
      }
    }
  }
}

}  // namespace
}  // namespace seesaw::split
