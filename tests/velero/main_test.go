// Package velero drives the plugin through the code with which Velero itself drives it: its registry, its
// restartable processes and its gRPC clients.
//
// The environment names what is tested: STILLPOINT_PLUGIN the plugin's program; for the tests that take
// snapshots also STILLPOINT_LAB the simulated Azure's and STILLPOINT_AGENT the agent's.
package velero

import (
	"flag"
	"os"
	"testing"

	"github.com/vmware-tanzu/velero/pkg/plugin/framework"
)

// Velero's registry first asks its own executable, as `velero run-plugins`, for built-in plugins, and hands its
// own flags (os.Args from the third on) to every plugin. So this test binary plays `velero server`: one without
// built-in plugins, with flags that the plugin has no use for.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "run-plugins" {
		framework.NewServer().Serve()
		return
	}
	flag.Parse()
	os.Args = []string{os.Args[0], "server", "--features=", "--uploader-type=kopia", "--log-level=debug", "--client-qps", "100"}
	os.Exit(m.Run())
}
