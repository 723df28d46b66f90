// A JSON text (RFC 8259) that is looked through as it comes, so that a long one is never held whole.
#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace rr {

/// What is not JSON, or holds what no answer could repeat.
struct JsonError : std::invalid_argument {
  using std::invalid_argument::invalid_argument;
};

/// Keeps a text but for the values of some fields, in whose place stands `null`; these have to be sound all the same.
class JsonFilter {
 public:
  /// `unread`: fields to leave out of the objects that are the values of the `holders`, fields of the outermost object,
  /// and of those in lists that are.
  JsonFilter(std::vector<std::string> holders, std::vector<std::string> unread);

  /// The next part, of any size. Throws `JsonError` for what is not JSON by the letter, not UTF-8, deeper than 200, half
  /// of a character, or a number beyond all doubles; then nothing more may be fed.
  void feed(std::string_view part);
  /// Throws `JsonError` where the text is not whole.
  void finish();

  const std::string& kept() const { return kept_; }
  /// Objects and lists that are kept, and commas between their values.
  size_t containers() const { return containers_; }
  size_t commas() const { return commas_; }

 private:
  enum class Want : uint8_t { value, value_or_end, key, key_or_end, colon, comma_or_end, nothing };
  enum class Inside : uint8_t { nothing, string, number, word };
  enum class Digits : uint8_t { sign, zero, whole, point, fraction, letter, exponent_sign, exponent };

  [[noreturn]] void fail(const char* what) const;
  void begin(char first);
  void between(char c);
  void open(char bracket);
  void close(char bracket);
  void end_value(const char* behind);
  void end_key();
  void string_byte(unsigned char c, const char* behind);
  void escape_byte(unsigned char c);
  bool number_byte(char c);
  void digit(char c);
  void end_number();

  std::vector<std::string> holders_, unread_;
  std::string kept_;
  size_t containers_ = 0, commas_ = 0, before_ = 0;
  const char *part_ = nullptr, *at_ = nullptr, *from_ = nullptr;  // the part, the byte looked at, and what is kept next
  std::string stack_;                                             // open brackets
  size_t skipped_ = 0;                                            // how many are open around the value that is left out
  bool skipping_ = false, skip_next_ = false, holds_ = false;
  Want want_ = Want::value;
  Inside inside_ = Inside::nothing;
  // Of the string:
  bool is_key_ = false, plain_ = true, high_ = false;  // `high_`: the first half of a character stands before
  int escape_ = 0;                                     // 0: none; 5: behind the backslash; else hex digits to come
  int more_ = 0;                                       // bytes of the character to come
  unsigned char low_ = 0x80, top_ = 0xBF;              // what the next of them may be
  unsigned unit_ = 0;
  std::string key_;
  // Of the number:
  Digits digits_ = Digits::sign;
  uint64_t leading_ = 0;  // the first 19 significant digits
  int count_ = 0;
  int64_t point_ = 0, exponent_ = 0;  // 0.LEADING × 10^(point + exponent)
  bool negative_exponent_ = false;
  // Of the word:
  std::string_view rest_;
};

}  // namespace rr
