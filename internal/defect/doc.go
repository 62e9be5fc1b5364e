// Package defect switches off what keeps the rules of DESIGN, one by one, so
// that the fault tests can prove that they would notice (docs/chaos.md). That
// takes a program built with the tag defects, and the environment variable
// SANGO_DEFECTS, such as R3,R4b. Without the tag the switches are constants, and
// nothing of them is in the program.
package defect
