#include "models/shape/model_source.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>

#include "base/json_reader.hpp"
#include "base/text.hpp"
#include "embedded/zoo_files.hpp"
#include "models/shape/checkpoint_index.hpp"
#include "models/shape/config_reader.hpp"
#include "models/shape/readers/readers.hpp"

namespace moesim {
namespace {

constexpr std::string_view kZooPrefix = "zoo:";

// "Qwen3MoeForCausalLM" and "qwen3_moe" name one family: letters and digits, in lower case, without the class suffix.
std::string family_key(std::string_view name) {
  const auto suffix = name.find("For");
  if (suffix != std::string_view::npos && suffix > 0) name = name.substr(0, suffix);
  std::string key;
  for (const char c : to_lower(name))
    if (c != '_' && c != '-') key += c;
  return key;
}

const ModelReader* find_reader(std::string_view type) {
  for (const ModelReader& reader : model_readers())
    for (const std::string_view known : reader.model_types)
      if (family_key(known) == family_key(type)) return &reader;
  return nullptr;
}

std::vector<std::string> known_types() {
  std::vector<std::string> types;
  for (const ModelReader& reader : model_readers())
    types.insert(types.end(), reader.model_types.begin(), reader.model_types.end());
  return types;
}

Result<std::string> first_architecture(const JsonReader& object) {
  JsonReader reader = object;
  const auto list = reader.optional("architectures");
  if (!list) return std::string();
  MOESIM_ASSIGN(const std::vector<JsonReader> names, list->elements());
  if (names.empty()) return std::string();
  return names.front().as_string();
}

// The object that describes the language model, and what it and its surroundings call themselves.
struct Description {
  JsonReader object;
  std::string type;          // may be empty
  std::string architecture;  // may be empty
  std::vector<std::string> notes;
};

Result<Description> find_description(const JsonReader& root) {
  if (!root.is_object()) return root.error("expected a model description (a JSON object)");
  Description description{root, {}, {}, {}};
  JsonReader outer = root;
  MOESIM_ASSIGN(description.type, outer.string_or("model_type", ""));
  MOESIM_ASSIGN(description.architecture, first_architecture(root));
  auto text = outer.optional("text_config");
  if (!text) return description;
  if (!text->is_object()) return text->error("expected an object");
  MOESIM_ASSIGN(const std::string inner_type, text->string_or("model_type", ""));
  if (!inner_type.empty()) description.type = inner_type;
  description.object = *std::move(text);
  description.notes.emplace_back("only the text model (text_config) is read");
  return description;
}

// Tells what a model of unknown type would need. `problem` comes from the attempt to read it by common spellings.
Error unknown_type_error(const Description& description, Error problem) {
  const std::vector<std::string> types = known_types();
  const std::string name = description.type.empty() ? description.architecture : description.type;
  const std::string who = name.empty() ? "no model_type is given"
                                       : fmt::format("unknown model_type '{}'{}", name, did_you_mean(name, types));
  problem.what = fmt::format("{}, and reading it by common key names failed: {}", who, problem.what);
  problem.hint = fmt::format(
      "known types: {}; any other model can be given by plain fields: {{\"model_type\": \"gpt_moe\", "
      "\"layers\": .., \"hidden\": .., \"heads\": .., \"vocab\": .., \"ffn_width\": .., \"experts\": .., "
      "\"top_k\": ..}}",
      fmt::join(types, ", "));
  return problem;
}

Result<ModelShape> read_shape(const Description& description, ConfigReader& config) {
  const ModelReader* reader = find_reader(description.type);
  if (!reader && !description.architecture.empty()) reader = find_reader(description.architecture);
  if (reader) return reader->read(config);
  config.note(description.type.empty()
                  ? "no model_type: read by common key names"
                  : fmt::format("unknown model_type '{}': read by common key names", description.type));
  Result<ModelShape> shape = read_by_aliases(config);
  if (!shape) return tl::unexpected<Error>(unknown_type_error(description, std::move(shape).error()));
  return shape;
}

std::string name_from_place(const std::string& place) {
  const std::filesystem::path path(place);
  if (path.stem() == "config" && path.has_parent_path() && path.parent_path().has_filename())
    return path.parent_path().filename().string();
  return path.stem().string();
}

Result<LoadedModel> read_model(JsonReader root, const std::string& place) {
  MOESIM_ASSIGN(Description description, find_description(root));
  const std::string subject = description.type.empty() ? "a model without model_type" : description.type;
  ConfigReader config(description.object, subject);
  LoadedModel model;
  MOESIM_ASSIGN(model.shape, read_shape(description, config));
  if (Status status = check(model.shape); !status) return description.object.error(status.error().what);
  model.shape.model_type = description.type.empty() ? description.architecture : description.type;
  MOESIM_ASSIGN(model.shape.name, root.string_or("name", ""));
  if (model.shape.name.empty()) model.shape.name = name_from_place(place);
  model.notes = std::move(description.notes);
  model.notes.insert(model.notes.end(), config.notes().begin(), config.notes().end());
  if (root.has("quantization_config") || description.object.has("quantization_config"))
    model.notes.emplace_back(
        "quantization_config describes the stored checkpoint; it does not set the training precision");
  return model;
}

// The hub id that a zoo file names in "_name_or_path".
Result<std::string> hub_id(const EmbeddedFile& file) {
  MOESIM_ASSIGN(const JsonDocument document, JsonDocument::parse_text(file.content, std::string(file.name)));
  return document.root().string_or("_name_or_path", "");
}

Result<LoadedModel> load_zoo_model(std::string_view wanted) {
  for (const EmbeddedFile& file : zoo_files()) {
    MOESIM_ASSIGN(const std::string id, hub_id(file));
    if (to_lower(wanted) != file.name && to_lower(wanted) != to_lower(id)) continue;
    MOESIM_ASSIGN(LoadedModel model, parse_model(file.content, fmt::format("zoo:{}", file.name)));
    model.shape.name = file.name;
    return model;
  }
  const std::vector<std::string> names = zoo_names();
  return usage_error(fmt::format("the zoo has no model '{}'{}", wanted, did_you_mean(to_lower(wanted), names)),
                     fmt::format("one of {}; or the path of a config.json", fmt::join(names, ", ")));
}

}  // namespace

std::vector<std::string> zoo_names() {
  std::vector<std::string> names;
  for (const EmbeddedFile& file : zoo_files()) names.emplace_back(file.name);
  return names;
}

Result<LoadedModel> parse_model(std::string_view text, const std::string& place) {
  MOESIM_ASSIGN(const JsonDocument document, JsonDocument::parse_text(text, place));
  return read_model(document.root(), place);
}

Result<LoadedModel> load_model(const std::string& source) {
  if (source.starts_with(kZooPrefix)) return load_zoo_model(std::string_view(source).substr(kZooPrefix.size()));
  std::error_code ignored;
  const bool folder = std::filesystem::is_directory(source, ignored);
  const std::string path = folder ? (std::filesystem::path(source) / "config.json").string() : source;
  auto document = JsonDocument::parse_file(path);
  if (!document) {
    Error error = std::move(document).error();
    // A bare zoo name is the likeliest wrong spelling of a source.
    const std::vector<std::string> names = zoo_names();
    if (std::find(names.begin(), names.end(), to_lower(source)) != names.end())
      error.hint = fmt::format("for the shipped model write zoo:{}", to_lower(source));
    return tl::unexpected<Error>(std::move(error));
  }
  MOESIM_ASSIGN(LoadedModel model, read_model(document->root(), path));
  if (auto remark = compare_with_checkpoint(model.shape, document->root(), path))
    model.notes.push_back(*std::move(remark));
  return model;
}

}  // namespace moesim
