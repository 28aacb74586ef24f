// Turns C++ exceptions into a return code and a message.
#pragma once
#include <exception>
#include <string>

inline thread_local std::string last_error;

template <class F>
int status(F&& f) {
  try {
    f();
    return 0;
  } catch (const std::exception& e) {
    last_error = e.what();
    return -1;
  } catch (...) {
    // Nothing may unwind into Rust.
    last_error = "an exception that is no std::exception";
    return -1;
  }
}
