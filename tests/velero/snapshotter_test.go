package velero

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/sirupsen/logrus"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// A PV of the CSI driver in the zone westeurope-1.
func persistentVolume(driver, handle string) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1",
		"kind":       "PersistentVolume",
		"metadata": map[string]any{
			"name":   "pvc-1",
			"labels": map[string]any{"topology.kubernetes.io/zone": "westeurope-1", "app": "db"},
		},
		"spec": map[string]any{
			"capacity": map[string]any{"storage": "1Gi"},
			"csi":      map[string]any{"driver": driver, "volumeHandle": handle, "fsType": "ext4"},
			"nodeAffinity": map[string]any{"required": map[string]any{"nodeSelectorTerms": []any{
				map[string]any{"matchExpressions": []any{map[string]any{
					"key": "topology.disk.csi.azure.com/zone", "operator": "In", "values": []any{"westeurope-1"},
				}}},
			}}},
		},
	}}
}

func TestVolumeIsBackedUpAndRestored(t *testing.T) {
	lab, server := newLab(t), newServer(t).discover()
	mount := lab.mountedDisk("data", "1")
	snapshotter := server.initialized(ownName, lab.config(map[string]string{"freeze": "required", "zoneMapping": "westeurope-1=westeurope-2"}))

	// Azure's and Kubernetes' spellings differ in case.
	handle := strings.ToLower(lab.disk("data"))
	pv := persistentVolume("disk.csi.azure.com", handle)
	volume, err := snapshotter.GetVolumeID(pv)
	if err != nil || !strings.EqualFold(volume, lab.disk("data")) {
		t.Fatalf("volume ID is %q, %v", volume, err)
	}
	kind, iops, err := snapshotter.GetVolumeInfo(volume, "westeurope-1")
	if err != nil || kind != "Premium_LRS" || iops != nil {
		t.Fatalf("volume is %q %v, %v", kind, iops, err)
	}

	tags := map[string]string{"velero.io/backup": "nightly", "velero.io/pv": "pvc-1", "team": "a&b"}
	snapshot, err := snapshotter.CreateSnapshot(volume, "westeurope-1", tags)
	if err != nil {
		t.Fatal(err)
	}
	thawed(t, mount)
	taken := lab.snapshots()
	if len(taken) != 1 || !strings.EqualFold(taken[0].ID, snapshot) || taken[0].State != "Succeeded" {
		t.Fatalf("Azure has %+v, want %s", taken, snapshot)
	}
	for key, want := range map[string]string{
		"stillpoint-consistency": "filesystem", "velero.io-backup": "nightly", "velero.io-pv": "pvc-1",
	} {
		if got := taken[0].Tags[key]; got != want {
			t.Errorf("tag %s is %q, want %q; all: %v", key, got, want, taken[0].Tags)
		}
	}

	restored, err := snapshotter.CreateVolumeFromSnapshot(snapshot, kind, "westeurope-1", iops)
	if err != nil || strings.EqualFold(restored, volume) {
		t.Fatalf("restored volume is %q, %v", restored, err)
	}
	changed, err := snapshotter.SetVolumeID(pv, restored)
	if err != nil {
		t.Fatal(err)
	}
	content := changed.UnstructuredContent()
	labels, _, _ := unstructured.NestedStringMap(content, "metadata", "labels")
	if got, _, _ := unstructured.NestedString(content, "spec", "csi", "volumeHandle"); !strings.EqualFold(got, restored) {
		t.Errorf("volume handle is %q, want %q", got, restored)
	}
	if want := map[string]string{"topology.kubernetes.io/zone": "westeurope-2", "app": "db"}; !contains(labels, want) {
		t.Errorf("labels are %v, want %v", labels, want)
	}
	if affinity := fmt.Sprint(content["spec"].(map[string]any)["nodeAffinity"]); !strings.Contains(affinity, "westeurope-2") || strings.Contains(affinity, "westeurope-1") {
		t.Errorf("node affinity is %s", affinity)
	}
	if size, _, _ := unstructured.NestedString(content, "spec", "capacity", "storage"); size != "1Gi" {
		t.Errorf("the PV lost its capacity: %v", content)
	}

	for range 2 {
		if err := snapshotter.DeleteSnapshot(snapshot); err != nil {
			t.Errorf("delete: %v", err)
		}
	}
	if left := lab.snapshots(); len(left) != 0 {
		t.Errorf("left in Azure: %+v", left)
	}
}

func contains(all, some map[string]string) bool {
	merged := maps.Clone(all)
	maps.Copy(merged, some)
	return maps.Equal(all, merged)
}

func TestOtherDriversVolumesAreLeftAlone(t *testing.T) {
	lab, server := newLab(t), newServer(t).discover()
	snapshotter := server.initialized(ownName, lab.config(nil))
	if volume, err := snapshotter.GetVolumeID(persistentVolume("file.csi.azure.com", "rg#account#share")); err != nil || volume != "" {
		t.Errorf("volume ID is %q, %v; want none", volume, err)
	}
}

func TestBadIDsAreNamedInErrors(t *testing.T) {
	lab, server := newLab(t), newServer(t).discover()
	snapshotter := server.initialized(ownName, lab.config(nil))
	for name, call := range map[string]func() error{
		"volume": func() error { _, err := snapshotter.CreateSnapshot("/bad/id", "", nil); return err },
		"info":   func() error { _, _, err := snapshotter.GetVolumeInfo("/bad/id", ""); return err },
		"delete": func() error { return snapshotter.DeleteSnapshot("/bad/id") },
		"restore": func() error {
			_, err := snapshotter.CreateVolumeFromSnapshot("/bad/id", "Premium_LRS", "", nil)
			return err
		},
		"PV": func() error {
			_, err := snapshotter.GetVolumeID(persistentVolume("disk.csi.azure.com", "/bad/id"))
			return err
		},
	} {
		if err := call(); err == nil || !strings.Contains(err.Error(), "/bad/id") {
			t.Errorf("%s: error is %v", name, err)
		}
	}
	if _, err := snapshotter.CreateSnapshot(lab.disk("missing"), "", nil); err == nil || !strings.Contains(err.Error(), "missing") {
		t.Errorf("missing disk: error is %v", err)
	}
}

func TestVolumesAreSnapshottedAtOnce(t *testing.T) {
	lab, server := newLab(t), newServer(t).discover()
	const volumes = 8
	for n := range volumes {
		lab.mountedDisk(fmt.Sprintf("data-%d", n), "1")
	}
	snapshotter := server.initialized(ownName, lab.config(map[string]string{"freeze": "required"}))
	var calls sync.WaitGroup
	for n := range volumes {
		calls.Go(func() {
			if _, err := snapshotter.CreateSnapshot(lab.disk(fmt.Sprintf("data-%d", n)), "westeurope-1", nil); err != nil {
				t.Error(err)
			}
		})
	}
	calls.Wait()
	for _, snapshot := range lab.snapshots() {
		if got := snapshot.Tags["stillpoint-consistency"]; got != "filesystem" {
			t.Errorf("%s is worth %q", snapshot.ID, got)
		}
	}
	if got := len(lab.snapshots()); got != volumes {
		t.Errorf("%d snapshots, want %d", got, volumes)
	}
	server.process()
}

func TestOutcomeIsInVelerosLog(t *testing.T) {
	lab, server := newLab(t), newServer(t).discover()
	lab.mountedDisk("data", "1")
	for _, test := range []struct {
		freeze string
		level  logrus.Level
		worth  string
	}{
		{"required", logrus.InfoLevel, "filesystem"},
		// No agent where the location says: the snapshot is taken all the same, and Velero counts a warning.
		{"auto", logrus.WarnLevel, "crash"},
	} {
		changes := map[string]string{"freeze": test.freeze}
		if test.freeze == "auto" {
			changes["agent"] = "unix:/no/such/socket"
		}
		snapshot, err := server.initialized(ownName, lab.config(changes)).CreateSnapshot(lab.disk("data"), "westeurope-1", nil)
		if err != nil {
			t.Fatal(err)
		}
		name := filepath.Base(snapshot)
		about := func() *logrus.Entry {
			for _, entry := range server.log.ofPlugin() {
				if text, ok := entry.Data["snapshot"].(string); ok && strings.HasSuffix(text, name) && strings.HasPrefix(entry.Message, "snapshot taken") {
					return &entry
				}
			}
			return nil
		}
		eventually(t, "the outcome is logged", func() bool { return about() != nil })
		entry := about()
		if entry.Level != test.level || entry.Data["consistency"] != test.worth {
			t.Errorf("freeze=%s is logged as %v %q %v", test.freeze, entry.Level, entry.Message, entry.Data)
		}
	}
	for _, entry := range server.log.ofPlugin() {
		if line := fmt.Sprint(entry.Message, entry.Data); strings.Contains(line, "Bearer") || strings.Contains(line, lab.secret()) {
			t.Errorf("a secret is in the log: %s", line)
		}
	}
}

func (l *lab) secret() string {
	l.t.Helper()
	credentials, err := os.ReadFile(l.Credentials)
	if err != nil {
		l.t.Fatal(err)
	}
	for line := range strings.Lines(string(credentials)) {
		if secret, found := strings.CutPrefix(strings.TrimSpace(line), "AZURE_CLIENT_SECRET="); found {
			return secret
		}
	}
	l.t.Fatalf("no secret in %s", l.Credentials)
	return ""
}

func TestPluginKilledInTheMiddleIsRestartedByVelero(t *testing.T) {
	lab, server := newLab(t), newServer(t).discover()
	mount := lab.mountedDisk("data", "1")
	snapshotter := server.initialized(ownName, lab.config(map[string]string{"freeze": "required"}))
	lab.set(`{"snapshot": {"duration": "5s"}}`)

	failed := make(chan error, 1)
	go func() {
		_, err := snapshotter.CreateSnapshot(lab.disk("data"), "westeurope-1", nil)
		failed <- err
	}()
	eventually(t, "Azure makes a snapshot", func() bool { return len(lab.snapshots()) == 1 })
	former := server.process()
	if err := syscall.Kill(former, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if err := <-failed; err == nil {
		t.Error("the call succeeded though its plugin was killed")
	}
	// Before Azure is done: nobody holds it any more.
	thawed(t, mount)
	orphan := lab.snapshots()[0]
	if orphan.Tags["stillpoint-state"] != "pending" || orphan.Tags["stillpoint-consistency"] != "crash" {
		t.Errorf("what was left behind says too much: %v", orphan.Tags)
	}

	// Velero sees the end of the process, starts another and calls Init again.
	lab.set(`{"snapshot": {"duration": "300ms"}}`)
	eventually(t, "Velero has seen the end", func() bool { return server.log.contains("plugin process exited") })
	snapshot, err := snapshotter.CreateSnapshot(lab.disk("data"), "westeurope-1", nil)
	if err != nil {
		t.Fatal(err)
	}
	if now := server.process(); now == former {
		t.Error("no new process")
	}
	for _, taken := range lab.snapshots() {
		if strings.EqualFold(taken.ID, snapshot) && taken.Tags["stillpoint-consistency"] != "filesystem" {
			t.Errorf("after the restart: %v", taken.Tags)
		}
	}
}

func TestPluginEndedInTheMiddleCleansUp(t *testing.T) {
	for name, test := range map[string]struct {
		// Azure refuses to delete a snapshot that it still makes.
		duration string
		end      func(*server) error
	}{
		"by a signal": {"3s", func(s *server) error { return syscall.Kill(s.process(), syscall.SIGTERM) }},
		// Velero waits two seconds for it.
		"by Velero": {"800ms", func(s *server) error { s.manager.CleanupClients(); return nil }},
	} {
		t.Run(name, func(t *testing.T) {
			lab, server := newLab(t), newServer(t).discover()
			mount := lab.mountedDisk("data", "1")
			snapshotter := server.initialized(ownName, lab.config(map[string]string{"freeze": "required"}))
			lab.set(fmt.Sprintf(`{"snapshot": {"duration": %q}}`, test.duration))
			failed := make(chan error, 1)
			go func() {
				_, err := snapshotter.CreateSnapshot(lab.disk("data"), "westeurope-1", nil)
				failed <- err
			}()
			eventually(t, "Azure makes a snapshot", func() bool { return len(lab.snapshots()) == 1 })
			if err := test.end(server); err != nil {
				t.Fatal(err)
			}
			if err := <-failed; err == nil {
				t.Error("the call succeeded though its plugin was ended")
			}
			thawed(t, mount)
			eventually(t, "the process ends", func() bool { return len(server.processes()) == 0 })
			if left := lab.snapshots(); len(left) != 0 {
				t.Errorf("left in Azure: %+v", left)
			}
			if server.log.contains("failed to exit gracefully") {
				t.Error("go-plugin had to kill it")
			}
		})
	}
}
