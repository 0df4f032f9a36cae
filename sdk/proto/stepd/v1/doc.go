// Package stepdv1 is the generated code of the protocol between the daemon
// and a plugin; stepd.proto beside it is the contract.
package stepdv1
