// One tiny recording per format, made here from counts of our own.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <zlib.h>
#include <zstd.h>

#include "trace_test_util.hpp"

namespace moesim {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

std::string little_endian(std::uint64_t value, std::size_t size) {
  std::string bytes;
  for (std::size_t i = 0; i < size; ++i) bytes += static_cast<char>(value >> (8 * i) & 0xFF);
  return bytes;
}

std::string zstd(std::string_view text) {
  std::string packed(ZSTD_compressBound(text.size()), '\0');
  packed.resize(ZSTD_compress(packed.data(), packed.size(), text.data(), text.size(), 3));
  return packed;
}

std::string deflated(std::string_view text, int window_bits) {
  z_stream stream{};
  EXPECT_EQ(deflateInit2(&stream, 6, Z_DEFLATED, window_bits, 8, Z_DEFAULT_STRATEGY), Z_OK);
  std::string packed(text.size() + 1000, '\0');
  std::string input(text);
  stream.next_in = reinterpret_cast<Bytef*>(input.data());
  stream.avail_in = static_cast<uInt>(input.size());
  stream.next_out = reinterpret_cast<Bytef*>(packed.data());
  stream.avail_out = static_cast<uInt>(packed.size());
  EXPECT_EQ(deflate(&stream, Z_FINISH), Z_STREAM_END);
  packed.resize(stream.total_out);
  deflateEnd(&stream);
  return packed;
}

std::string gzip(std::string_view text) { return deflated(text, MAX_WBITS + 16); }

std::string tar_file(const std::string& name, const std::string& content, char type = '0') {
  std::string header(512, '\0');
  header.replace(0, name.size(), name);
  header.replace(124, 11, [&] {
    std::string octal(11, '0');
    std::size_t size = content.size();
    for (std::size_t i = 11; i-- > 0; size /= 8) octal[i] = static_cast<char>('0' + size % 8);
    return octal;
  }());
  header[156] = type;
  header.replace(257, 8, std::string("ustar\00000", 8));
  header.replace(148, 8, 8, ' ');
  unsigned sum = 0;
  for (const char c : header) sum += static_cast<unsigned char>(c);
  std::string checksum(6, '0');
  for (std::size_t i = 6; i-- > 0; sum /= 8) checksum[i] = static_cast<char>('0' + sum % 8);
  header.replace(148, 7, checksum + '\0');
  return header + content + std::string((512 - content.size() % 512) % 512, '\0');
}

const std::string kTarEnd(1024, '\0');
const std::string kTable0 = "0:[[1.0, 2.0, 3.0], [4.0, 0.0, 2.0]]\n1:[[6.0, 0.0, 0.0], [0.0, 0.0, 6.0]]\n";
const std::string kTable1 = "0:[[2.0, 2.0, 2.0], [3.0, 3.0, 0.0]]\n1:[[5.0, 1.0, 0.0], [0.0, 1.0, 5.0]]\n";

void expect_smartmoe(const SelectionTrace& trace) {
  EXPECT_EQ(trace.dims(), (TraceDims{1, 2, 2, 2, 3}));
  EXPECT_THAT(trace.iterations(), ElementsAre(11));
  EXPECT_THAT(row_of(trace, 0, 0, 1, 0), ElementsAre(4, 0, 2));
  EXPECT_THAT(row_of(trace, 0, 1, 0, 1), ElementsAre(5, 1, 0));
  EXPECT_EQ(trace.info.format, "smartmoe-tables");
}

TEST(SmartMoeTables, FolderAndArchives) {
  const TempFolder folder;
  folder.write("tables/table_iter11_rank0.log", kTable0);
  folder.write("tables/table_iter11_rank1.log", kTable1);
  expect_smartmoe(load_or_fail(folder.path("tables")));
  const std::string tar = tar_file("t/", "", '5') + tar_file("t/table_iter11_rank1.log", kTable1) +
                          tar_file("t/notes.txt", "x") + tar_file("t/table_iter11_rank0.log", kTable0) + kTarEnd;
  expect_smartmoe(load_or_fail(folder.write("t.tar", tar)));
  expect_smartmoe(load_or_fail(folder.write("t.tar.zst", zstd(tar))));
  expect_smartmoe(load_or_fail(folder.write("t.tar.gz", gzip(tar))));
  EXPECT_THAT(describe(error_of(folder.write("pax.tar", tar_file("a.txt", "x") + kTarEnd))),
              HasSubstr("no file named"));
  const std::string record = "path=deep/table_iter11_rank1.log\n";
  const std::string pax = std::to_string(record.size() + 3) + " " + record;
  expect_smartmoe(load_or_fail(folder.write(
      "long.tar", tar_file("././@LongLink", std::string(120, 'd') + "/table_iter11_rank0.log" + '\0', 'L') +
                      tar_file("cut", kTable0) + tar_file("pax", pax, 'x') + tar_file("cut", kTable1) + kTarEnd)));
}

TEST(SmartMoeTables, OneFile) {
  const TempFolder folder;
  const SelectionTrace trace = load_or_fail(folder.write("table_iter7_rank3.log", kTable0));
  EXPECT_THAT(trace.iterations(), ElementsAre(7));
  EXPECT_THAT(trace.source_ranks(), ElementsAre(3));
}

TEST(SmartMoeTables, BadInputIsOneClearError) {
  const TempFolder folder;
  const auto error = [&](const std::string& content) {
    return describe(error_of(folder.write("table_iter1_rank0.log", content)));
  };
  EXPECT_THAT(error("0:[[1.0, -2.0]]\n"), HasSubstr("negative: -2.0"));
  EXPECT_THAT(error("0:[[1.0, 2.0]]\n1:[[nan, 2.0]]\n"),
              HasSubstr("NaN @ " + folder.path("table_iter1_rank0.log") + ":2"));
  EXPECT_THAT(error("0:[[1.0, 2.0"), HasSubstr("is the file complete"));
  EXPECT_THAT(error("0:[[1.0, 2.0], [3.0]]"), HasSubstr("row has 1 experts"));
  EXPECT_THAT(error("0:[[1.0, 2.0]] tail"), HasSubstr("after the closing bracket"));
  EXPECT_THAT(error("0:[[0.0, 0.0]]"), HasSubstr("all counts are zero"));
  EXPECT_THAT(error("0:[[1.0, 2.0]]\n0:[[1.0, 2.0]]"), HasSubstr("appears twice"));
  const std::string tar = tar_file("table_iter1_rank0.log", kTable0);
  EXPECT_THAT(describe(error_of(folder.write("cut.tar", tar))), HasSubstr("end mark"));
  EXPECT_THAT(describe(error_of(folder.write("cut2.tar", tar.substr(0, 530)))), HasSubstr("middle of a file"));
  std::string broken = tar + kTarEnd;
  broken[0] = 'x';
  EXPECT_THAT(describe(error_of(folder.write("broken.tar", broken))), HasSubstr("broken tar header"));
  const std::string packed = zstd(tar + kTarEnd);
  EXPECT_THAT(describe(error_of(folder.write("cut.tar.zst", packed.substr(0, packed.size() - 8)))),
              HasSubstr("zstd data ends too early"));
  const std::string zipped = gzip(tar + kTarEnd);
  EXPECT_THAT(describe(error_of(folder.write("cut.tar.gz", zipped.substr(0, zipped.size() - 30)))),
              HasSubstr("gzip data ends too early"));
}

TEST(TokensCsv, CountsExactly) {
  const TempFolder folder;
  const std::string path = folder.write("t.csv",
                                        "iter,layer,micro_batch,src_rank,token,id0,id1\n"
                                        "3,1,0,0,0,2,0\n3,1,0,0,1,2,1\n3,1,0,1,0,0,1\n4,1,0,0,0,1,-1\n4,1,0,1,0,0,0\n");
  const auto loaded = load_trace(path);
  ASSERT_TRUE(loaded) << describe(loaded.error());
  EXPECT_THAT(row_of(loaded->trace, 0, 0, 0, 0), ElementsAre(1, 1, 2));
  EXPECT_THAT(row_of(loaded->trace, 0, 0, 0, 1), ElementsAre(1, 1, 0));
  EXPECT_THAT(row_of(loaded->trace, 1, 0, 0, 0), ElementsAre(0, 1, 0));
  EXPECT_EQ(loaded->trace.info.top_k, 2);
  EXPECT_TRUE(loaded->findings.has("dropped-choices"));
  EXPECT_TRUE(loaded->findings.has("repeated-choice"));
  EXPECT_TRUE(loaded->findings.has("experts-guessed"));
}

TEST(TokensCsv, BadInputIsOneClearError) {
  const TempFolder folder;
  const std::string head = "iter,layer,token,id0,id1\n";
  EXPECT_THAT(describe(error_of(folder.write("t.csv", head + "0,0,0,1\n"))), HasSubstr("4 columns, the header 5 @"));
  EXPECT_THAT(describe(error_of(folder.write("t.csv", head + "0,0,0,1,x\n"))), HasSubstr("'x'"));
  EXPECT_THAT(describe(error_of(folder.write("t.csv", head + "0,0,0,1,-2\n"))), HasSubstr("'-2'"));
  EXPECT_THAT(describe(error_of(folder.write("t.csv", head + "0,0,0,1,99999\n"))), HasSubstr("99999 is out of range"));
  EXPECT_THAT(describe(error_of(folder.write("t.csv", head + "0,0,0,0,1\n1,0,0,0,7\n"))),
              HasSubstr("id 7 is out of range"));
  folder.write("t.csv.json", R"({"num_experts": 4})");
  EXPECT_THAT(describe(error_of(folder.write("t.csv", head + "0,0,0,1,5\n"))), HasSubstr("side file says 4"));
}

TEST(SequenceCsv, GivesSequencesToRanks) {
  const TempFolder folder;
  ImportOptions options;
  options.sequence_ranks = 2;
  const std::string path = folder.write("s.csv", "seq,pos,L1,L2\n0,0,0 1,2 1\n0,1,0 2,2 0\n1,0,1 2,0 1\n2,0,0 1,0 1\n");
  const auto loaded = load_trace(path, options);
  ASSERT_TRUE(loaded) << describe(loaded.error());
  EXPECT_EQ(loaded->trace.dims(), (TraceDims{1, 2, 1, 2, 3}));
  EXPECT_THAT(row_of(loaded->trace, 0, 0, 0, 0), ElementsAre(3, 2, 1));
  EXPECT_THAT(row_of(loaded->trace, 0, 1, 0, 1), ElementsAre(1, 1, 0));
  EXPECT_EQ(loaded->trace.info.phase, TracePhase::kInference);
  EXPECT_TRUE(loaded->findings.has("inference"));
  EXPECT_THAT(describe(error_of(folder.write("s.csv", "seq,pos,L1\n0,0,0 1\n0,1,0\n"))), HasSubstr("1 expert ids"));
  EXPECT_THAT(describe(error_of(folder.write("s.csv", "seq,pos,Lx\n0,0,0 1\n"))), HasSubstr("L<layer>"));
  options.sequence_ranks = 0;
  EXPECT_EQ(error_of(path, options).kind, ErrorKind::kUsage);
}

TEST(EsftText, FolderAndFile) {
  const TempFolder folder;
  folder.write("d/expert_weights_1.txt", "0\t1\t2\t0\t\t.5\t.5\t.9\t.1\n1\t2\t\t.5\t.5\n");
  folder.write("d/expert_weights_2.txt", "2\t1\t2\t1\t\t.5\t.5\t.9\t.1\n0\t2\t\t.5\t.5\n");
  ImportOptions options;
  options.top_k = 2;
  const SelectionTrace trace = load_or_fail(folder.path("d"), options);
  EXPECT_THAT(trace.layers(), ElementsAre(1, 2));
  EXPECT_THAT(row_of(trace, 0, 0, 0, 0), ElementsAre(2, 1, 1));
  EXPECT_THAT(row_of(trace, 0, 1, 0, 1), ElementsAre(1, 0, 1));
  EXPECT_THAT(load_or_fail(folder.path("d/expert_weights_2.txt"), options).layers(), ElementsAre(2));
  EXPECT_THAT(describe(error_of(folder.path("d"))), HasSubstr("4 expert ids are not a whole number of tokens with 6"));
  folder.write("d/expert_weights_2.txt", "2\t1\n");
  EXPECT_THAT(describe(error_of(folder.path("d"), options)), HasSubstr("expert_weights_2.txt:1"));
}

TEST(LongCsv, ReadsOneRecordingOfSeveral) {
  const TempFolder folder;
  const auto loaded = load_trace(folder.write("l.csv",
                                              "model,selection,domain,layer,expert,count\n"
                                              "a,topk,c4,0,0,5\na,topk,c4,0,1,3\na,top1,c4,0,0,4\nb,topk,c4,0,7,9\n"
                                              "a,topk,git,0,1,8\n"));
  ASSERT_TRUE(loaded) << describe(loaded.error());
  EXPECT_EQ(loaded->trace.dims(), (TraceDims{2, 1, 1, 1, 2}));
  EXPECT_THAT(row_of(loaded->trace, 1, 0, 0, 0), ElementsAre(0, 8));
  EXPECT_EQ(loaded->trace.info.model, "a");
  ASSERT_TRUE(loaded->findings.has("other-recordings"));
  EXPECT_EQ(loaded->findings.worst(), Severity::kDataLoss);
  EXPECT_EQ(load_or_fail(folder.write("s.csv", "layer_id,expert_id,count\n3,1,2\n3,0,2\n")).dims(),
            (TraceDims{1, 1, 1, 1, 2}));
  EXPECT_THAT(describe(error_of(folder.write("s.csv", "layer,expert,count\n3,1,2\n3,1,2\n"))),
              HasSubstr("appears twice"));
  EXPECT_THAT(describe(error_of(folder.write("s.csv", "layer,expert,count\n3,1,-2\n"))), HasSubstr("negative"));
}

TEST(MegatronJsonl, PutsReceivedCountsTogether) {
  const TempFolder folder;
  folder.write("m/rank0.jsonl", "{\"iter\":9,\"block\":\"decoder\",\"layer\":3,\"tpe\":[[1,2],[3,4]]}\n");
  folder.write("m/rank1.jsonl",
               "{\"iter\":9,\"block\":\"decoder\",\"layer\":3,\"tpe\":[[5,6],[7,8]]}\n"
               "{\"iter\":9,\"block\":\"mtp\",\"mtp_idx\":0,\"layer\":0,\"tpe\":[[5,6],[7,8]]}\n");
  const auto loaded = load_trace(folder.path("m"));
  ASSERT_TRUE(loaded) << describe(loaded.error());
  EXPECT_EQ(loaded->trace.dims(), (TraceDims{1, 1, 2, 1, 4}));
  EXPECT_THAT(row_of(loaded->trace, 0, 0, 1, 0), ElementsAre(3, 4, 7, 8));
  EXPECT_TRUE(loaded->trace.info.source_symmetric);
  EXPECT_TRUE(loaded->findings.has("received-side"));
  EXPECT_TRUE(loaded->findings.has("other-blocks"));
  ImportOptions options;
  options.expert_parallel = 1;  // two copies of two experts: summed
  EXPECT_THAT(row_of(load_or_fail(folder.path("m"), options), 0, 0, 0, 0), ElementsAre(6, 8));
  options.expert_parallel = 3;
  EXPECT_THAT(describe(error_of(folder.path("m"), options)), HasSubstr("copies of some experts are missing"));
  EXPECT_THAT(describe(error_of(folder.path("m/rank0.jsonl"))), HasSubstr("only its own experts"));
  folder.write("m/rank1.jsonl", "{\"iter\":9,\"layer\":3,\"tpe\":[[5,-6]]}\n");
  EXPECT_THAT(describe(error_of(folder.path("m"))), HasSubstr("rank1.jsonl:1#/tpe/0/1"));
  folder.write("m/rank1.jsonl", "{\"iter\":9,\"layer\":3,\"tp");
  EXPECT_THAT(describe(error_of(folder.path("m"))), HasSubstr("rank1.jsonl:1"));
}

std::string safetensors(const std::string& header, const std::string& data) {
  return little_endian(header.size(), 8) + header + data;
}

TEST(TensorRtLlm, ReadsCountsBySourceRank) {
  const TempFolder folder;
  folder.write("s/meta_info.json", R"({"num_experts": 2, "num_experts_per_token": 1})");
  const std::string header = R"({"10_1":{"dtype":"I64","shape":[2],"data_offsets":[0,16]},)"
                             R"("9_1":{"dtype":"I64","shape":[2],"data_offsets":[16,32]},"__metadata__":{"a":"b"}})";
  const auto data = [](int a, int b, int c, int d) {
    std::string bytes;
    for (const int v : {a, b, c, d}) bytes += little_endian(static_cast<std::uint64_t>(std::int64_t{v}), 8);
    return bytes;
  };
  folder.write("s/rank0.safetensors", safetensors(header, data(1, 2, 3, 4)));
  folder.write("s/rank1.safetensors", safetensors(header, data(5, 6, 7, 8)));
  const SelectionTrace trace = load_or_fail(folder.path("s"));
  EXPECT_EQ(trace.dims(), (TraceDims{2, 1, 1, 2, 2}));
  EXPECT_THAT(trace.iterations(), ElementsAre(9, 10));
  EXPECT_THAT(row_of(trace, 0, 0, 0, 1), ElementsAre(7, 8));
  EXPECT_EQ(trace.info.top_k, 1);
  const auto error = [&](const std::string& content) {
    folder.write("s/rank1.safetensors", content);
    return describe(error_of(folder.path("s")));
  };
  EXPECT_THAT(error(safetensors(header, data(5, -6, 7, 8))), HasSubstr("-6 is not a whole number"));
  EXPECT_THAT(error(safetensors(header, data(5, 6, 7, 8).substr(1))), HasSubstr("data_offsets"));
  EXPECT_THAT(error("abc"), HasSubstr("too short"));
  EXPECT_THAT(error(little_endian(1ULL << 60, 8) + "{}"), HasSubstr("does not fit the file"));
  EXPECT_THAT(error(safetensors("{", "")), HasSubstr("rank1.safetensors"));
  EXPECT_THAT(error(safetensors(R"({"a":{"dtype":"I64","shape":[1],"data_offsets":[0,8]}})", std::string(8, '\1'))),
              HasSubstr("<iter>_<layer>"));
  EXPECT_THAT(error(safetensors(R"({"1_1":{"dtype":"BF16","shape":[1],"data_offsets":[0,2]}})", "ab")),
              HasSubstr("BF16"));
  EXPECT_THAT(error(safetensors(R"({"1_1":{"dtype":"I64","shape":[4611686018427387904,8],"data_offsets":[0,0]}})", "")),
              HasSubstr("does not fit its 0 bytes"));
  std::filesystem::remove(folder.path("s/meta_info.json"));
  EXPECT_THAT(describe(error_of(folder.path("s"))), HasSubstr("meta_info.json"));
}

std::string npy(const std::string& descr, const std::string& shape, const std::string& data,
                const std::string& fortran = "False") {
  std::string header = "{'descr': '" + descr + "', 'fortran_order': " + fortran + ", 'shape': " + shape + ", }";
  header += std::string(64 - (10 + header.size() + 1) % 64, ' ') + "\n";
  return std::string("\x93NUMPY\x01\x00", 8) + little_endian(header.size(), 2) + header + data;
}

std::string int32s(const std::vector<int>& values) {
  std::string bytes;
  for (const int v : values) bytes += little_endian(static_cast<std::uint32_t>(v), 4);
  return bytes;
}

std::string zip(const std::vector<std::pair<std::string, std::string>>& members, bool compress) {
  std::string files, directory;
  for (const auto& [name, content] : members) {
    const std::string data = compress ? deflated(content, -MAX_WBITS) : content;
    const std::string common = little_endian(20, 2) + little_endian(0, 2) + little_endian(compress ? 8 : 0, 2) +
                               little_endian(0, 4) + little_endian(0, 4) + little_endian(data.size(), 4) +
                               little_endian(content.size(), 4) + little_endian(name.size(), 2) + little_endian(0, 2);
    directory += std::string("PK\x01\x02", 4) + little_endian(20, 2) + common + little_endian(0, 2) +
                 little_endian(0, 2) + little_endian(0, 2) + little_endian(0, 4) + little_endian(files.size(), 4) +
                 name;
    files += std::string("PK\x03\x04", 4) + common + name + data;
  }
  return files + directory + std::string("PK\x05\x06", 4) + little_endian(0, 4) + little_endian(members.size(), 2) +
         little_endian(members.size(), 2) + little_endian(directory.size(), 4) + little_endian(files.size(), 4) +
         little_endian(0, 2);
}

TEST(NumpyArrays, CountsOfARingBuffer) {
  const TempFolder folder;
  // Three buffer rows, the last unused; layer 0 is dense.
  const std::string array = npy("<i4", "(3, 2, 2)", int32s({0, 0, 1, 2, 0, 0, 3, 4, 0, 0, 0, 0}));
  for (const bool compress : {false, true}) {
    const auto loaded = load_trace(folder.write(
        "s.npz", zip({{"logical_count.npy", array}, {"rank.npy", npy("<i8", "()", std::string(8, '\0'))}}, compress)));
    ASSERT_TRUE(loaded) << describe(loaded.error());
    EXPECT_EQ(loaded->trace.dims(), (TraceDims{2, 1, 1, 1, 2}));
    EXPECT_THAT(loaded->trace.layers(), ElementsAre(1));
    EXPECT_THAT(row_of(loaded->trace, 1, 0, 0, 0), ElementsAre(3, 4));
    EXPECT_TRUE(loaded->findings.has("unused-buffer-rows"));
    EXPECT_TRUE(loaded->findings.has("dense-layers"));
  }
  const auto full = load_trace(folder.write(
      "c.npy",
      npy("<i8", "(2, 1, 2)", little_endian(1, 8) + little_endian(2, 8) + little_endian(3, 8) + little_endian(4, 8))));
  ASSERT_TRUE(full) << describe(full.error());
  EXPECT_TRUE(full->findings.has("ring-buffer-full"));
  EXPECT_EQ(load_or_fail(folder.write("two.npy", npy("<i4", "(1, 2)", int32s({1, 2})))).dims(),
            (TraceDims{1, 1, 1, 1, 2}));
}

TEST(NumpyArrays, RoutedExperts) {
  const TempFolder folder;
  std::string ids;
  for (const int id : {0, 1, 2, 1, 2, 0, -1, 1}) ids += little_endian(static_cast<std::uint16_t>(id), 2);
  const SelectionTrace trace = load_or_fail(folder.write("x.npy", npy("<i2", "(2, 2, 2)", ids)));
  EXPECT_EQ(trace.info.top_k, 2);
  EXPECT_THAT(row_of(trace, 0, 0, 0, 0), ElementsAre(2, 1, 1));
  EXPECT_THAT(row_of(trace, 0, 1, 0, 0), ElementsAre(0, 2, 1));
  const std::string named = npy("<i4", "(1, 1, 2)", int32s({1, 0}));
  EXPECT_EQ(load_or_fail(folder.write("r.npz", zip({{"routed_experts.npy", named}}, false))).info.top_k, 2);
}

TEST(NumpyArrays, PhysicalCountsNeedTheirMap) {
  const TempFolder folder;
  const std::string counts = npy("<i4", "(1, 3)", int32s({5, 6, 7}));
  const std::string map = npy("<i4", "(1, 3)", int32s({1, 0, 1}));
  const SelectionTrace trace = load_or_fail(
      folder.write("p.npz", zip({{"global_physical_count.npy", counts}, {"physical_to_logical_map.npy", map}}, false)));
  EXPECT_THAT(row_of(trace, 0, 0, 0, 0), ElementsAre(6, 12));
  const auto unmapped = load_trace(folder.write("p.npz", zip({{"global_physical_count.npy", counts}}, false)));
  ASSERT_TRUE(unmapped);
  EXPECT_EQ(unmapped->findings.worst(), Severity::kError);
}

TEST(NumpyArrays, BadInputIsOneClearError) {
  const TempFolder folder;
  const auto error = [&](const std::string& content) { return describe(error_of(folder.write("x.npy", content))); };
  EXPECT_THAT(error(npy("<i4", "(1, 2)", int32s({1}))), HasSubstr("does not fit its 4 bytes"));
  EXPECT_THAT(error(npy(">i4", "(1, 2)", int32s({1, 2}))), HasSubstr("big-endian"));
  EXPECT_THAT(error(npy("|O", "(1, 2)", int32s({1, 2}))), HasSubstr("pickle"));
  EXPECT_THAT(error(npy("<i4", "(1, 2)", int32s({1, 2}), "True")), HasSubstr("Fortran"));
  EXPECT_THAT(error(npy("<i4", "(2,)", int32s({1, 2}))), HasSubstr("expected [steps, layers, experts]"));
  EXPECT_THAT(error(npy("<i4", "(1, 2)", int32s({1, -2}))), HasSubstr("-2 is not a whole number"));
  const std::string two =
      zip({{"a.npy", npy("<i4", "(1, 2)", int32s({1, 2}))}, {"b.npy", npy("<i4", "(1, 2)", int32s({1, 2}))}}, true);
  EXPECT_THAT(error(two), HasSubstr("the archive has: a, b"));
  EXPECT_THAT(error(two.substr(0, two.size() - 40)), HasSubstr("complete"));
  ImportOptions small;
  small.memory_limit_bytes = 200;
  EXPECT_THAT(describe(error_of(folder.write("x.npy", npy("<i4", "(1, 100)", std::string(400, '\1'))), small)),
              HasSubstr("limit"));
}

TEST(Formats, RefusedOnesNameTheWayOut) {
  const TempFolder folder;
  const auto error = [&](const std::string& content) { return describe(error_of(folder.write("x", content))); };
  EXPECT_THAT(error(zip({{"archive/data.pkl", "x"}}, false)), HasSubstr("numpy.savez"));
  EXPECT_THAT(error("\x80\x04\x95pickle"), HasSubstr("never loaded"));
  EXPECT_THAT(error("PAR1...."), HasSubstr("pyarrow"));
  EXPECT_THAT(error("model,method,layer,iter,r0,r1\na,LAER,0,0,5,6\n"), HasSubstr("tokens computed per GPU"));
  EXPECT_THAT(error("a,b,c\n1,2,3\n"), HasSubstr("unknown columns: a,b,c"));
  EXPECT_THAT(error("\xFF\xFEi\0t\0"), HasSubstr("UTF-16"));
  EXPECT_THAT(error(std::string("\x01\x00\x02\x00", 4)), HasSubstr("binary"));
  EXPECT_THAT(error("hello"), HasSubstr("no known trace format"));
  EXPECT_THAT(error(""), HasSubstr("empty"));
  std::filesystem::create_directory(folder.path("none"));
  EXPECT_THAT(describe(error_of(folder.path("none"))), HasSubstr("folder is empty"));
  folder.write("odd/readme.md", "x");
  EXPECT_THAT(describe(error_of(folder.path("odd"))), HasSubstr("no trace that is known"));
  EXPECT_THAT(describe(error_of(folder.path("missing.csv"))), HasSubstr("No such file"));
}

}  // namespace
}  // namespace moesim
