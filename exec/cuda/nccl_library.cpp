#include "exec/cuda/nccl_library.hpp"

#include "base/shared_library.hpp"

namespace moesim {

Result<NcclApi> load_nccl() {
  constexpr const char* kNames[] = {"libnccl.so.2", "libnccl.so"};
  MOESIM_ASSIGN(const SharedLibrary library, SharedLibrary::open("NCCL", kNames));
  NcclApi api;
  MOESIM_TRY(library.bind(api.get_unique_id, "ncclGetUniqueId"));
  MOESIM_TRY(library.bind(api.init_rank, "ncclCommInitRankConfig"));
  MOESIM_TRY(library.bind(api.async_error, "ncclCommGetAsyncError"));
  MOESIM_TRY(library.bind(api.destroy, "ncclCommDestroy"));
  MOESIM_TRY(library.bind(api.abort, "ncclCommAbort"));
  MOESIM_TRY(library.bind(api.group_start, "ncclGroupStart"));
  MOESIM_TRY(library.bind(api.group_end, "ncclGroupEnd"));
  MOESIM_TRY(library.bind(api.send, "ncclSend"));
  MOESIM_TRY(library.bind(api.receive, "ncclRecv"));
  MOESIM_TRY(library.bind(api.all_reduce, "ncclAllReduce"));
  MOESIM_TRY(library.bind(api.all_gather, "ncclAllGather"));
  MOESIM_TRY(library.bind(api.reduce_scatter, "ncclReduceScatter"));
  MOESIM_TRY(library.bind(api.reduce, "ncclReduce"));
  MOESIM_TRY(library.bind(api.broadcast, "ncclBroadcast"));
  MOESIM_TRY(library.bind(api.error_string, "ncclGetErrorString"));
  return api;
}

}  // namespace moesim
