#include "calibration/measurement.hpp"

#include <gmock/gmock.h>

#include "calibration/profile.hpp"
#include "calibration/validation_rows.hpp"

namespace moesim {
namespace {

using ::testing::HasSubstr;

std::vector<Measurement> rows_of(std::string text) {
  auto reader = CsvReader::from_text(std::move(text), "m.csv");
  EXPECT_TRUE(reader.has_value());
  auto rows = read_measurements(*reader);
  EXPECT_TRUE(rows.has_value()) << rows.error().what;
  return rows ? std::move(*rows) : std::vector<Measurement>{};
}

TEST(Measurements, GemmRows) {
  const auto rows = rows_of(
      "id,source_id,hardware,kind,dtype,layout,groups,m,n,k,batch,seq_q,seq_kv,heads,kv_heads,head_dim_qk,"
      "head_dim_v,causal,"
      "time_us,tflops,notes,library,quality\n"
      "1,s,H100-SXM5-80GB,gemm,bf16,,1,4096,4096,8192,,,,,,,,,500,,,cuBLAS,A\n"
      "2,s,H800-SXM5-80GB,grouped_gemm,fp8 e4m3 -> bf16,,4,256,4096,7168,,,,,,,,,64.5,,m = rows per "
      "group,DeepGEMM,A\n"
      "3,s,A100-PCIe-80GB,attention_fwd,bf16,,,,,,1,4096,4096,32,8,128,128,1,,350,,FA,A\n"
      "4,s,H100-SXM5-80GB,softmax,bf16,,,1,1,1,,,,,,,,,5,,,x,A\n"
      "5,s,Unobtainium,gemm,bf16,,1,1,1,1,,,,,,,,,5,,,x,A\n"
      "6,s,H100-SXM5-80GB,gemm,bf16,,1,1,1,1,,,,,,,,,,,,x,A\n"
      "7,s,H100-SXM5-80GB,gemm,posit,,1,1,1,1,,,,,,,,,5,,,x,A\n");
  ASSERT_EQ(rows.size(), 7U);
  for (std::size_t i = 0; i < 3; ++i) {
    ASSERT_EQ(rows[i].skipped, "");
    const double predicted = rows[i].predict(make_cost_model(*rows[i].view));
    EXPECT_NEAR(predicted / rows[i].measured, 1, 0.35) << rows[i].id;
  }
  // 2 * 4096 * 4096 * 32 * 256 at 350 TFLOP/s, counted without the mask.
  EXPECT_DOUBLE_EQ(rows[2].measured, 2.0 * 4096 * 4096 * 32 * 256 / 350e12);
  EXPECT_THAT(rows[3].skipped, HasSubstr("softmax"));
  EXPECT_THAT(rows[4].skipped, HasSubstr("Unobtainium"));
  EXPECT_THAT(rows[5].skipped, HasSubstr("no time"));
  EXPECT_THAT(rows[6].skipped, HasSubstr("posit"));
}

TEST(Measurements, CollectiveRows) {
  const auto rows = rows_of(
      "id,source_id,hardware,n_gpus,gpus_per_node,n_nodes,intra_link,inter_link,op,algo_or_impl,size_bytes,"
      "time_us,quality\n"
      "1,s,H100-SXM5-80GB,8,8,1,NVSwitch (NVLS on),,all_reduce,auto (NVLS),1073741824,4029,A\n"
      "2,s,H100-SXM5-80GB,4,8,1,NVSwitch,,all_reduce,,1073741824,4532,A\n"
      "3,s,A100-SXM4-40GB,8,4,2,mesh,HPE Slingshot-11,all_gather,no network plugin (TCP sockets),1024,5,A\n"
      "4,s,H800-SXM5-80GB,8,8,1,,,moe_dispatch,,,,A\n"
      "5,s,H100-SXM5-80GB,32,16,2,,,all_reduce,,1024,50,A\n"
      "6,s,H100-SXM5-80GB,8,8,1,,,gossip,,1024,50,A\n"
      "7,s,A100-SXM4-40GB,8,4,2,mesh,HPE Slingshot-11,all_gather,aws-ofi-nccl,536870912,12946,A\n"
      "8,s,H100-SXM5-80GB,1,8,1,,,all_reduce,,1024,50,A\n");
  ASSERT_EQ(rows.size(), 8U);
  for (const std::size_t i : {0U, 1U, 6U}) {
    ASSERT_EQ(rows[i].skipped, "");
    EXPECT_NEAR(rows[i].predict(make_cost_model(*rows[i].view)) / rows[i].measured, 1, 0.1) << rows[i].id;
  }
  EXPECT_THAT(rows[2].skipped, HasSubstr("TCP"));
  EXPECT_THAT(rows[3].skipped, HasSubstr("no size"));
  EXPECT_THAT(rows[4].skipped, HasSubstr("16 GPUs per node"));
  EXPECT_THAT(rows[5].skipped, HasSubstr("gossip"));
  EXPECT_THAT(rows[7].skipped, HasSubstr("no group"));
}

TEST(Measurements, MoeLayerRows) {
  const auto rows = rows_of(
      "id,source_id,hardware,n_gpus,gpus_per_node,tp,ep,model_or_case,tokens_per_rank,hidden,ffn_moe,experts,"
      "topk,precision,"
      "component,phase,library,count,time_us,quality\n"
      "1,s,H800-SXM5-80GB,8,8,8,1,x,1024,8192,8192,32,4,bf16/fp16,layer0: all-gather + scatter + grouped "
      "GEMM,fwd,Flux fused overlap,,1146,A\n"
      "2,s,H800-SXM5-80GB,8,8,8,1,x,1024,8192,8192,32,4,bf16/fp16,layer0: all-gather + scatter + grouped "
      "GEMM,fwd,torch,,4702,A\n"
      "3,s,B200-SXM-180GB,1,,1,1,DeepSeekV3,131072,7168,2048,8 local,1 (balanced),bf16,single MoE layer "
      "(x),fwd+bwd,x,,92032,A\n"
      "4,s,H800-SXM5-80GB,64,8,1,64,DualPipe,4096,7168,2048,256,8,fp8/bf16,EP dispatch,x,x,4,17383,A\n"
      "5,s,H800-SXM5-80GB,64,8,1,64,DualPipe,4096,7168,2048,256,8,fp8/bf16,,x,x,4,,A\n"
      "6,s,H800-SXM5-80GB,64,8,1,64,DualPipe,4096,7168,2048,256,8,fp8/bf16,grouped GEMM fp8 "
      "(fwd/dgrad),x,x,16,22926,A\n");
  ASSERT_EQ(rows.size(), 6U);
  for (const std::size_t i : {0U, 2U, 5U}) ASSERT_EQ(rows[i].skipped, "") << rows[i].id;
  // 131072 rows through three GEMMs of 7168 x 2048, forward and twice that backward, take 15.4 ms at the
  // peak.
  EXPECT_GT(rows[2].predict(make_cost_model(*rows[2].view)), 18.0 * 131072 * 7168 * 2048 / 2250e12);
  for (const std::size_t i : {0U, 5U}) {
    EXPECT_NEAR(rows[i].predict(make_cost_model(*rows[i].view)) / rows[i].measured, 1, 0.45) << rows[i].id;
  }
  EXPECT_THAT(rows[1].skipped, HasSubstr("baseline"));
  EXPECT_THAT(rows[3].skipped, HasSubstr("waiting"));
  EXPECT_THAT(rows[4].skipped, HasSubstr("missing"));
}

TEST(Measurements, BadFiles) {
  auto unknown = CsvReader::from_text("a,b\n1,2\n", "m.csv");
  EXPECT_THAT(read_measurements(*unknown).error().what, HasSubstr("known measurement formats"));
  auto bad = CsvReader::from_text("id,hardware,kind,m,n,k,time_us,dtype\n1,H100,gemm,x,1,1,5,bf16\n", "m.csv");
  EXPECT_EQ(read_measurements(*bad).error().where, "m.csv:2");
  EXPECT_FALSE(validate_measurements("/nonexistent.csv").has_value());
  EXPECT_FALSE(is_measurement_file("/nonexistent.csv").has_value());
}

TEST(Validation, SummaryCountsSkippedRowsApart) {
  std::vector<ValidationRow> rows(4);
  rows[0].relative_error = -0.1;
  rows[1].relative_error = 0.3;
  rows[2].relative_error = -0.2;
  rows[3].skipped = "no law";
  const ErrorSummary summary = summarize_errors(rows);
  EXPECT_EQ(summary.rows, 3);
  EXPECT_EQ(summary.skipped, 1);
  EXPECT_DOUBLE_EQ(summary.median, 0.2);
  EXPECT_DOUBLE_EQ(summary.bias, -0.1);
}

}  // namespace
}  // namespace moesim
