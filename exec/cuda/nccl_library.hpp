// The functions of NCCL that are called, found when the program runs.
#pragma once

#include <nccl.h>

#include "base/error.hpp"

namespace moesim {

struct NcclApi {
  decltype(ncclGetUniqueId)* get_unique_id = nullptr;
  decltype(ncclCommInitRankConfig)* init_rank = nullptr;
  decltype(ncclCommGetAsyncError)* async_error = nullptr;
  decltype(ncclCommDestroy)* destroy = nullptr;
  decltype(ncclCommAbort)* abort = nullptr;
  decltype(ncclGroupStart)* group_start = nullptr;
  decltype(ncclGroupEnd)* group_end = nullptr;
  decltype(ncclSend)* send = nullptr;
  decltype(ncclRecv)* receive = nullptr;
  decltype(ncclAllReduce)* all_reduce = nullptr;
  decltype(ncclAllGather)* all_gather = nullptr;
  decltype(ncclReduceScatter)* reduce_scatter = nullptr;
  decltype(ncclReduce)* reduce = nullptr;
  decltype(ncclBroadcast)* broadcast = nullptr;
  decltype(ncclGetErrorString)* error_string = nullptr;
};

[[nodiscard]] Result<NcclApi> load_nccl();

}  // namespace moesim
