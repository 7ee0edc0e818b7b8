// Package velero drives the plugin through the code with which Velero itself drives it.
package velero

import (
	"os"
	"testing"

	"github.com/vmware-tanzu/velero/pkg/plugin/framework"
)

// Velero's registry first asks its own executable, `<argv[0]> run-plugins`, for built-in plugins, and passes
// everything from its third argument on to every plugin. So this test binary plays Velero: it answers as
// one without built-in plugins, and hides the flags of `go test` behind the ones of a server.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "run-plugins" {
		framework.NewServer().Serve()
		return
	}
	os.Exit(m.Run())
}
