#include "tools/bench/table.h"

#include <algorithm>
#include <cstddef>
#include <cstdio>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace grove::bench {
namespace {

std::string Number(double v) {
  if (std::isnan(v)) return "-";
  const double size = std::fabs(v);
  if (v == std::floor(v) && size < 1e6) return absl::StrFormat("%.0f", v);
  if (size >= 1000) return absl::StrFormat("%.0f", v);
  return absl::StrFormat(size >= 100 ? "%.1f" : size >= 1 ? "%.2f" : "%.3f", v);
}

std::string JsonNumber(double v) {
  return std::isfinite(v) ? absl::StrFormat("%.6g", v) : "null";
}

std::string JsonString(const std::string& text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (static_cast<unsigned char>(c) < 0x20) {
      absl::StrAppend(&out, absl::StrFormat("\\u%04x", c));
    } else {
      out += c;
    }
  }
  return out + "\"";
}

}  // namespace

double Row::ratio() const {
  if (!ratios.empty()) return Median(ratios);
  return peer == 0 ? kNoValue : value / peer;  // NaN if either is missing
}

std::string Row::TargetText() const {
  switch (target.kind) {
    case Target::kNone:
      return "";
    case Target::kAtMost:
      return absl::StrCat("<= ", target.limit);
    case Target::kBelow:
      return absl::StrCat("< ", target.limit);
    case Target::kAtLeast:
      return absl::StrCat(">= ", target.limit);
    case Target::kRatioAtMost:
      return absl::StrCat("ratio <= ", target.limit);
    case Target::kRatioAtLeast:
      return absl::StrCat("ratio >= ", target.limit);
  }
  return "";
}

std::string Row::MetText() const {
  const bool of_ratio =
      target.kind == Target::kRatioAtMost || target.kind == Target::kRatioAtLeast;
  const double v = of_ratio ? ratio() : value;
  if (target.kind == Target::kNone || std::isnan(v)) return "";
  const bool at_least =
      target.kind == Target::kAtLeast || target.kind == Target::kRatioAtLeast;
  const bool met = at_least                        ? v >= target.limit
                   : target.kind == Target::kBelow ? v < target.limit
                                                   : v <= target.limit;
  return met ? "yes" : "no";
}

void Table::Add(Row row) {
  if (rows_.empty()) {
    printf("%-42s %10s %-10s %-14s %-4s %10s %6s  %s\n", "name", "value", "unit",
           "target", "met", "peer", "ratio", "note");
  }
  const double ratio = row.ratio();
  printf("%-42s %10s %-10s %-14s %-4s %10s %6s  %s\n", row.name.c_str(),
         Number(row.value).c_str(), row.unit.c_str(), row.TargetText().c_str(),
         row.MetText().c_str(), Number(row.peer).c_str(),
         std::isnan(ratio) ? "-" : absl::StrFormat("%.3f", ratio).c_str(),
         row.note.c_str());
  fflush(stdout);
  rows_.push_back(std::move(row));
}

void Table::AddError(const std::string& name, const std::string& why) {
  has_errors_ = true;
  Add({.name = name, .unit = "", .note = why});
}

std::string Table::Json(bool quick, int pairs) const {
  std::string out = absl::StrCat("{\n  \"quick\": ", quick ? "true" : "false",
                                 ",\n  \"pairs\": ", pairs, ",\n  \"rows\": [");
  const char* separator = "\n";
  for (const Row& row : rows_) {
    const std::string met = row.MetText();
    absl::StrAppend(
        &out, separator, "    {\"name\": ", JsonString(row.name),
        ", \"value\": ", JsonNumber(row.value), ", \"unit\": ", JsonString(row.unit),
        ", \"target\": ", JsonString(row.TargetText()), ", \"met\": ",
        met.empty()    ? "null"
        : met == "yes" ? "true"
                       : "false",
        ", \"peer\": ", JsonNumber(row.peer), ", \"ratio\": ", JsonNumber(row.ratio()));
    absl::StrAppend(&out, ", \"ratios\": [");
    for (size_t i = 0; i < row.ratios.size(); ++i) {
      absl::StrAppend(&out, i ? ", " : "", JsonNumber(row.ratios[i]));
    }
    absl::StrAppend(&out, "], \"note\": ", JsonString(row.note), "}");
    separator = ",\n";
  }
  return out + "\n  ]\n}\n";
}

double Median(std::vector<double> values) {
  if (values.empty()) return kNoValue;
  std::sort(values.begin(), values.end());
  const size_t middle = values.size() / 2;
  return values.size() % 2 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
}

double Quantile(std::vector<double> values, double q) {
  if (values.empty()) return kNoValue;
  const size_t rank = std::min(
      values.size() - 1, static_cast<size_t>(q * static_cast<double>(values.size())));
  std::nth_element(values.begin(), values.begin() + static_cast<ptrdiff_t>(rank),
                   values.end());
  return values[rank];
}

std::string Spread(const std::vector<double>& values, std::string before) {
  if (values.size() < 2) return "";
  const auto [least, most] = std::minmax_element(values.begin(), values.end());
  return absl::StrCat(before, absl::StrFormat("%.3g..%.3g", *least, *most));
}

}  // namespace grove::bench
