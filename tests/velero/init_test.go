package velero

import (
	"strings"
	"testing"

	vsv1 "github.com/vmware-tanzu/velero/pkg/plugin/velero/volumesnapshotter/v1"
)

const ownName = "stillpoint.io/azure"

func (s *server) snapshotter(name string) vsv1.VolumeSnapshotter {
	s.t.Helper()
	snapshotter, err := s.manager.GetVolumeSnapshotter(name)
	if err != nil {
		s.t.Fatal(err)
	}
	return snapshotter
}

func (s *server) initialized(name string, config map[string]string) vsv1.VolumeSnapshotter {
	s.t.Helper()
	snapshotter := s.snapshotter(name)
	if err := snapshotter.Init(config); err != nil {
		s.t.Fatalf("Init: %v", err)
	}
	return snapshotter
}

func TestBadConfigIsRefusedByInit(t *testing.T) {
	lab, server := newLab(t), newServer(t).discover()
	for name, test := range map[string]struct {
		changes map[string]string
		want    []string
	}{
		"unknown key":         {map[string]string{"resourcegroup": "x"}, []string{"resourcegroup", "resourceGroup"}},
		"freeze":              {map[string]string{"freeze": "maybe"}, []string{"freeze", "maybe", "required"}},
		"freezeTimeout":       {map[string]string{"freezeTimeout": "61s"}, []string{"freezeTimeout", "61s", "60s"}},
		"apiTimeout":          {map[string]string{"apiTimeout": "soon"}, []string{"apiTimeout", "soon"}},
		"incremental":         {map[string]string{"incremental": "perhaps"}, []string{"incremental", "perhaps"}},
		"zoneMapping":         {map[string]string{"zoneMapping": "westeurope-1"}, []string{"zoneMapping", "westeurope-1"}},
		"agent":               {map[string]string{"agent": "tcp:1"}, []string{"agent", "tcp:1", "unix:"}},
		"caCert":              {map[string]string{"caCert": "no PEM"}, []string{"caCert", "PEM"}},
		"endpoint":            {map[string]string{"resourceManagerEndpoint": "here"}, []string{"resourceManagerEndpoint", "here"}},
		"missing credentials": {map[string]string{"credentialsFile": "/no/such/file"}, []string{"credentialsFile", "/no/such/file"}},
		"lonely subscription": {map[string]string{"resourceGroup": ""}, []string{"subscriptionId", "resourceGroup"}},
	} {
		t.Run(name, func(t *testing.T) {
			err := server.snapshotter(ownName).Init(lab.config(test.changes))
			if err == nil {
				t.Fatal("Init took it")
			}
			for _, part := range test.want {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("error %q lacks %q", err, part)
				}
			}
		})
	}
	if err := server.snapshotter(ownName).Init(lab.config(nil)); err != nil {
		t.Errorf("good config after bad ones: %v", err)
	}
}

func TestBothNamesServeTheSame(t *testing.T) {
	t.Setenv("STILLPOINT_ALSO_SERVE", "velero.io/azure")
	lab, server := newLab(t), newServer(t).discover()
	lab.mountedDisk("shared", "1")
	for _, name := range []string{ownName, "velero.io/azure"} {
		kind, _, err := server.initialized(name, lab.config(nil)).GetVolumeInfo(lab.disk("shared"), "westeurope-1")
		if err != nil || kind != "Premium_LRS" {
			t.Errorf("%s: %q, %v", name, kind, err)
		}
	}
	server.process()
}
