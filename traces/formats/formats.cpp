#include "traces/formats/formats.hpp"

#include <fmt/format.h>

#include <array>

#include "base/text.hpp"
#include "traces/formats/csv_header.hpp"

namespace moesim {
namespace {

Error refused(const InputProbe& probe, std::string what, std::string hint) {
  return Error{ErrorKind::kInvalidInput, std::move(what), probe.path, std::move(hint)};
}

bool looks_like_pickle(std::string_view head) {
  return head.size() > 2 && head[0] == '\x80' && head[1] >= 2 && head[1] <= 5;
}

}  // namespace

std::string_view InputProbe::first_line() const {
  std::string_view text = head;
  if (text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);
  return trim(text.substr(0, text.find('\n')));
}

std::span<const TraceFormat* const> trace_formats() {
  static constexpr std::array kFormats = {&kCountsCsv,   &kTokensCsv,     &kSequenceCsv, &kLongCsv, &kSmartMoeTables,
                                          &kNumpyArrays, &kMegatronJsonl, &kTensorRtLlm, &kEsftText};
  return kFormats;
}

Error explain_unreadable(const InputProbe& probe) {
  if (probe.is_folder)
    return refused(probe, "folder holds no trace that is known",
                   "known folders: table_iter*_rank*.log, rank*.jsonl, rank*.safetensors with meta_info.json, "
                   "expert_weights_*.txt");
  const std::string_view head = probe.head;
  const bool torch = head.starts_with("PK\x03\x04") && head.find("data.pkl") != std::string_view::npos;
  if (torch)
    return refused(probe, "a PyTorch file (pickle inside) is never loaded: it could run any program",
                   "where you trust it, export it: python3 -c \"import torch, numpy; d = torch.load('X.pt', "
                   "weights_only=True); numpy.savez('X.npz', **{k: v.numpy() for k, v in d.items() if hasattr(v, "
                   "'numpy')})\"");
  if (looks_like_pickle(head))
    return refused(probe, "a Python pickle is never loaded: it could run any program",
                   "where you trust it, export it: python3 -c \"import pickle, numpy; d = pickle.load(open('X.pkl', "
                   "'rb')); numpy.savez('X.npz', logical_count=numpy.asarray(d['logical_count']))\"");
  if (head.starts_with("PAR1"))
    return refused(probe, "parquet is not read",
                   "export the ids of a layer: python3 -c \"import pyarrow.parquet as p, numpy; "
                   "numpy.save('routed_experts.npy', numpy.array(p.read_table('X.parquet')['indices'].to_pylist(), "
                   "'int16')[:, None, :])\"");
  if (head.starts_with("PK\x03\x04"))
    return refused(probe, "a zip archive that holds no numpy arrays", "unpack it and give the files");
  if (head.starts_with("\x89HDF")) return refused(probe, "HDF5 is not read", "export the counts with numpy.savez");
  if (head.starts_with("\xFF\xFE") || head.starts_with("\xFE\xFF"))
    return refused(probe, "file is UTF-16", "save it as UTF-8");
  if (head.find('\0') != std::string_view::npos)
    return refused(probe, "binary data of no known kind", "docs/traces.md lists the formats that are read");
  const std::string_view line = probe.first_line();
  if (csv_has_numbered(line, "r"))
    return refused(probe, "the table gives tokens computed per GPU (r0, r1, ...), not selections per expert",
                   "which expert was chosen cannot be told from it; use the recorder's counts per expert");
  if (line.find(',') != std::string_view::npos)
    return refused(probe, fmt::format("a table with unknown columns: {}", line.substr(0, 80)),
                   "counts are iter,layer,micro_batch,src_rank,e0,e1,...; tokens iter,layer,...,token,id0,id1,...");
  return refused(probe, "no known trace format", "docs/traces.md lists the formats that are read");
}

}  // namespace moesim
