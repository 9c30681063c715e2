#include "models/shape/readers/readers.hpp"

namespace moesim {

std::span<const ModelReader> model_readers() {
  static const ModelReader kReaders[] = {
      kMixtralReader,    kDeepseekV2Reader, kDeepseekV3Reader, kQwen2MoeReader, kQwen3MoeReader, kQwen3NextReader,
      kKimiLinearReader, kOlmoeReader,      kDbrxReader,       kPhimoeReader,   kGptOssReader,   kLlama4Reader,
      kGlm4MoeReader,    kMinimaxM2Reader,  kLlamaReader,      kGptMoeReader,
  };
  return kReaders;
}

}  // namespace moesim
