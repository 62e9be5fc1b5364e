package api

// The generated code is committed, so that building Sango needs no generator.
// "make generate" runs this with the pinned tools in the path.
//go:generate buf generate
