package velero

import (
	"slices"
	"strings"
	"testing"

	"github.com/vmware-tanzu/velero/pkg/plugin/framework/common"
)

func (s *server) names(kind common.PluginKind) []string {
	var names []string
	for _, plugin := range s.registry.List(kind) {
		if plugin.Command != s.program {
			s.t.Errorf("%s is served by %s, want %s", plugin.Name, plugin.Command, s.program)
		}
		names = append(names, plugin.Name)
	}
	return names
}

func TestPluginIsDiscovered(t *testing.T) {
	for name, test := range map[string]struct {
		alsoServe string
		want      []string
	}{
		"own name":        {"", []string{"stillpoint.io/azure"}},
		"stock's as well": {"velero.io/azure", []string{"stillpoint.io/azure", "velero.io/azure"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("STILLPOINT_ALSO_SERVE", test.alsoServe)
			server := newServer(t).discover()
			for _, kind := range []common.PluginKind{common.PluginKindVolumeSnapshotter, common.PluginKindObjectStore} {
				if got := server.names(kind); !slices.Equal(got, test.want) {
					t.Errorf("names of %s are %q, want %q", kind, got, test.want)
				}
			}
			if running := server.processes(); len(running) != 0 {
				t.Errorf("discovery left processes behind: %v", running)
			}
		})
	}
}

func TestWrongNameStopsDiscoveryWithItsReason(t *testing.T) {
	t.Setenv("STILLPOINT_ALSO_SERVE", "velero.io/gcp")
	err := newServer(t).registry.DiscoverPlugins()
	if err == nil || !strings.Contains(err.Error(), "STILLPOINT_ALSO_SERVE") || !strings.Contains(err.Error(), "velero.io/gcp") {
		t.Errorf("error is %v", err)
	}
}

func TestUnknownNameIsNotFound(t *testing.T) {
	server := newServer(t).discover()
	if _, err := server.manager.GetVolumeSnapshotter("velero.io/azure"); err == nil {
		t.Error("velero.io/azure is served though nobody asked for it")
	}
}
