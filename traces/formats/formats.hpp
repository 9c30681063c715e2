// Every importer of this folder.
#pragma once

#include "traces/formats/format.hpp"

namespace moesim {

extern const TraceFormat kCountsCsv;
extern const TraceFormat kEsftText;
extern const TraceFormat kLongCsv;
extern const TraceFormat kMegatronJsonl;
extern const TraceFormat kNumpyArrays;
extern const TraceFormat kSequenceCsv;
extern const TraceFormat kSmartMoeTables;
extern const TraceFormat kTensorRtLlm;
extern const TraceFormat kTokensCsv;

// Shared by recordings of sequences without ranks: says so in the findings, and that they stem from inference.
void note_sequences_as_ranks(ImportJob& job);
// Where the tokens of a sequence of such a recording belong.
[[nodiscard]] RowKey sequence_key(const ImportOptions& options, std::int64_t sequence, std::int32_t layer);

}  // namespace moesim
