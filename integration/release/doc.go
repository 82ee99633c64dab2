// Package release tests what make installs, as a user of the programs finds it.
package release
