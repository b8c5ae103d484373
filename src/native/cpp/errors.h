// Converts C++ exceptions to error messages: exceptions must not unwind into Rust.
#pragma once
#include <cstring>
#include <exception>

// Runs `work`; returns null, or the malloc'ed message of the exception that it throws.
template <class Work>
char* sb_caught(const Work& work) {
  try {
    work();
    return nullptr;
  } catch (const std::exception& error) {
    return strdup(error.what());
  } catch (...) {
    return strdup("unknown C++ exception");
  }
}
