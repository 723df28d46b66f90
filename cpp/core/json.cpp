#include "core/json.h"

#include <algorithm>
#include <array>
#include <utility>

namespace rr {
namespace {

constexpr size_t kDepth = 200;
constexpr size_t kLongestName = 32;  // of the fields that matter; a longer one is none of them
/// Half a step beyond the largest double, as 19 digits of 0.… × 10^309: from there numbers are infinite.
constexpr uint64_t kLargest = 1797693134862315807;
constexpr int64_t kLargestPoint = 309;
constexpr int64_t kFar = 1'000'000'000;  // an exponent that no point makes up for

/// Bytes of a string that stand for themselves.
constexpr std::array<bool, 256> kPlain = [] {
  std::array<bool, 256> plain{};
  for (size_t c = 0x20; c < 0x80; ++c) plain[c] = c != '"' && c != '\\';
  return plain;
}();

bool holds(const std::vector<std::string>& names, const std::string& name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

bool is_digit(char c) { return c >= '0' && c <= '9'; }

}  // namespace

JsonFilter::JsonFilter(std::vector<std::string> holders, std::vector<std::string> unread)
    : holders_(std::move(holders)), unread_(std::move(unread)) {}

void JsonFilter::fail(const char* what) const {
  throw JsonError(std::string(what) + " at byte " + std::to_string(before_ + static_cast<size_t>(at_ - part_)));
}

void JsonFilter::feed(std::string_view part) {
  const char* const end = part.data() + part.size();
  part_ = at_ = from_ = part.data();
  while (at_ < end) {
    switch (inside_) {
      case Inside::string:
        if (escape_ == 0 && more_ == 0 && !high_) {
          const char* const start = at_;
          while (at_ < end && kPlain[static_cast<unsigned char>(*at_)]) ++at_;
          if (is_key_ && key_.size() <= kLongestName)
            key_.append(start, std::min<size_t>(at_ - start, kLongestName + 1));
          if (at_ == end) break;
        }
        string_byte(static_cast<unsigned char>(*at_), at_ + 1);
        ++at_;
        break;
      case Inside::number:
        if (number_byte(*at_))
          ++at_;
        else
          end_number();  // the byte is looked at again
        break;
      case Inside::word:
        if (*at_ != rest_.front()) fail("no JSON value");
        rest_.remove_prefix(1);
        ++at_;
        if (rest_.empty()) end_value(at_);
        break;
      case Inside::nothing:
        if (*at_ != ' ' && *at_ != '\n' && *at_ != '\r' && *at_ != '\t') between(*at_);
        ++at_;
        // What ends a value that is left out ends it here.
        if (skipping_ && skipped_ == stack_.size() && want_ == Want::comma_or_end) {
          skipping_ = false;
          from_ = at_;
        }
    }
  }
  if (!skipping_) kept_.append(from_, static_cast<size_t>(end - from_));
  before_ += part.size();
  part_ = at_ = nullptr;
}

void JsonFilter::finish() {
  if (inside_ == Inside::number) end_number();
  if (want_ != Want::nothing || inside_ != Inside::nothing) fail("the text ends too early");
}

/// A byte that is no space, where no value is under way.
void JsonFilter::between(char c) {
  switch (want_) {
    case Want::value_or_end:
      if (c == ']') return close('[');
      [[fallthrough]];
    case Want::value:
      return begin(c);
    case Want::key_or_end:
      if (c == '}') return close('{');
      [[fallthrough]];
    case Want::key:
      if (c != '"') fail("a name in quotes is right");
      inside_ = Inside::string;
      is_key_ = plain_ = true;
      key_.clear();
      return;
    case Want::colon:
      if (c != ':') fail("a colon is right");
      want_ = Want::value;
      return;
    case Want::comma_or_end:
      if (c == ',') {
        commas_ += !skipping_;
        want_ = stack_.back() == '{' ? Want::key : Want::value;
        return;
      }
      if (c == '}') return close('{');
      if (c == ']') return close('[');
      fail("a comma or the end is right");
    case Want::nothing:
      fail("more than one JSON value");
  }
}

/// The first byte of a value.
void JsonFilter::begin(char first) {
  if (std::exchange(skip_next_, false)) {
    kept_.append(from_, static_cast<size_t>(at_ - from_)).append("null");
    skipping_ = true;
    skipped_ = stack_.size();
  }
  switch (first) {
    case '{':
    case '[':
      return open(first);
    case '"':
      inside_ = Inside::string;
      is_key_ = false;
      return;
    case 't':
      rest_ = "rue";
      break;
    case 'f':
      rest_ = "alse";
      break;
    case 'n':
      rest_ = "ull";
      break;
    default:
      if (first != '-' && !is_digit(first)) fail("no JSON value");
      inside_ = Inside::number;
      digits_ = Digits::sign;
      leading_ = 0;
      count_ = 0;
      point_ = exponent_ = 0;
      negative_exponent_ = false;
      if (first != '-') number_byte(first);
      return;
  }
  inside_ = Inside::word;
}

void JsonFilter::open(char bracket) {
  if (stack_.size() == kDepth) fail("nested too deep");
  stack_.push_back(bracket);
  containers_ += !skipping_;
  want_ = bracket == '{' ? Want::key_or_end : Want::value_or_end;
}

void JsonFilter::close(char bracket) {
  if (stack_.back() != bracket) fail("the wrong bracket");
  stack_.pop_back();
  want_ = stack_.empty() ? Want::nothing : Want::comma_or_end;
}

/// A value without brackets ends before `behind`.
void JsonFilter::end_value(const char* behind) {
  inside_ = Inside::nothing;
  want_ = stack_.empty() ? Want::nothing : Want::comma_or_end;
  if (skipping_ && skipped_ == stack_.size()) {
    skipping_ = false;
    from_ = behind;
  }
}

void JsonFilter::end_key() {
  inside_ = Inside::nothing;
  want_ = Want::colon;
  const size_t depth = stack_.size();
  if (depth == 1) holds_ = plain_ && holds(holders_, key_);
  const bool of_state = holds_ && (depth == 2 || (depth == 3 && stack_[1] == '['));
  skip_next_ = of_state && !skipping_ && plain_ && holds(unread_, key_);
}

/// A byte of a string that does not stand for itself.
void JsonFilter::string_byte(unsigned char c, const char* behind) {
  if (escape_ != 0) return escape_byte(c);
  if (more_ != 0) {
    if (c < low_ || c > top_) fail("no UTF-8");
    low_ = 0x80;
    top_ = 0xBF;
    --more_;
    return;
  }
  if (high_ && c != '\\') fail("half of a character");
  if (c == '\\') {
    escape_ = 5;
    plain_ = false;
  } else if (c == '"') {
    if (is_key_)
      end_key();
    else
      end_value(behind);
  } else if (c < 0x20) {
    fail("a control character in a string");
  } else {
    plain_ = false;
    if (c >= 0xC2 && c <= 0xDF) {
      more_ = 1;
    } else if (c >= 0xE0 && c <= 0xEF) {
      more_ = 2;
      if (c == 0xE0) low_ = 0xA0;
      if (c == 0xED) top_ = 0x9F;
    } else if (c >= 0xF0 && c <= 0xF4) {
      more_ = 3;
      if (c == 0xF0) low_ = 0x90;
      if (c == 0xF4) top_ = 0x8F;
    } else {
      fail("no UTF-8");
    }
  }
}

void JsonFilter::escape_byte(unsigned char c) {
  if (escape_ == 5) {
    if (c == 'u') {
      escape_ = 4;
      unit_ = 0;
      return;
    }
    if (high_) fail("half of a character");
    if (std::string_view("\"\\/bfnrt").find(static_cast<char>(c)) == std::string_view::npos) fail("an unknown escape");
    escape_ = 0;
    return;
  }
  const unsigned lower = c | 0x20U;
  if (is_digit(static_cast<char>(c)))
    unit_ = unit_ * 16 + (c - '0');
  else if (lower >= 'a' && lower <= 'f')
    unit_ = unit_ * 16 + (lower - 'a' + 10);
  else
    fail("four hexadecimal digits are right");
  if (--escape_ > 0) return;
  const bool low = unit_ >= 0xDC00 && unit_ <= 0xDFFF;
  if (low != high_) fail("half of a character");
  high_ = unit_ >= 0xD800 && unit_ <= 0xDBFF;
}

/// Whether the byte belongs to the number.
bool JsonFilter::number_byte(char c) {
  switch (digits_) {
    case Digits::sign:
      if (!is_digit(c)) fail("a digit is right");
      digits_ = c == '0' ? Digits::zero : Digits::whole;
      digit(c);
      return true;
    case Digits::whole:
      if (is_digit(c)) return digit(c), true;
      [[fallthrough]];
    case Digits::zero:
      if (is_digit(c)) fail("a number does not begin with 0");
      if (c == '.') return digits_ = Digits::point, true;
      break;
    case Digits::point:
      if (!is_digit(c)) fail("a digit is right");
      digits_ = Digits::fraction;
      [[fallthrough]];
    case Digits::fraction:
      if (is_digit(c)) return digit(c), true;
      break;
    case Digits::letter:
      digits_ = Digits::exponent_sign;
      if (c == '+' || c == '-') return negative_exponent_ = c == '-', true;
      [[fallthrough]];
    case Digits::exponent_sign:
      if (!is_digit(c)) fail("a digit is right");
      digits_ = Digits::exponent;
      [[fallthrough]];
    case Digits::exponent:
      if (!is_digit(c)) return false;
      exponent_ = std::min(kFar, exponent_ * 10 + (c - '0'));
      return true;
  }
  if (c != 'e' && c != 'E') return false;
  digits_ = Digits::letter;
  return true;
}

/// A digit before the exponent.
void JsonFilter::digit(char c) {
  const bool counts = count_ > 0 || c != '0';
  if (digits_ == Digits::fraction)
    point_ -= !counts;
  else
    point_ += counts;
  if (counts && count_ < 19) {
    leading_ = leading_ * 10 + static_cast<uint64_t>(c - '0');
    ++count_;
  }
}

void JsonFilter::end_number() {
  if (digits_ != Digits::zero && digits_ != Digits::whole && digits_ != Digits::fraction && digits_ != Digits::exponent)
    fail("a digit is right");
  uint64_t leading = leading_;
  for (int n = count_; n < 19; ++n) leading *= 10;
  const int64_t point = point_ + (negative_exponent_ ? -exponent_ : exponent_);
  if (count_ > 0 && (point > kLargestPoint || (point == kLargestPoint && leading >= kLargest)))
    fail("a number out of range");
  end_value(at_);
}

}  // namespace rr
