package velero

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// A simulated Azure and an agent for a node whose kubelet mounts its disks, each a process of its own.
type lab struct {
	t             *testing.T
	Endpoint      string
	Control       string
	CAFile        string
	Credentials   string `json:"credentialsFile"`
	Subscription  string
	ResourceGroup string
	kubelet       string
	agent         string
}

type labSnapshot struct {
	ID    string
	State string
	Tags  map[string]string
}

func newLab(t *testing.T) *lab {
	t.Helper()
	program, agent := required(t, "STILLPOINT_LAB"), required(t, "STILLPOINT_AGENT")
	if os.Getuid() != 0 {
		t.Skip("SKIPPED: not root, so no disk can be mounted")
	}
	directory := t.TempDir()
	l := &lab{t: t, kubelet: filepath.Join(directory, "kubelet"), agent: filepath.Join(directory, "agent.sock")}
	stdout := run(t, program, "serve", "--directory", filepath.Join(directory, "azure"))
	line, err := bufio.NewReader(stdout).ReadBytes('\n')
	if err != nil {
		t.Fatalf("the lab says nothing: %v", err)
	}
	if err := json.Unmarshal(line, l); err != nil {
		t.Fatalf("%s: %v", line, err)
	}
	l.set(`{"latency": {"read": "5ms", "write": "10ms"}, "snapshot": {"duration": "300ms"}, "diskDuration": "200ms", "deleteDuration": "50ms"}`)

	if err := os.MkdirAll(l.kubelet, 0o755); err != nil {
		t.Fatal(err)
	}
	run(t, agent, "serve", "--node-name", "node-1", "--kubelet-root", l.kubelet,
		"--journal", filepath.Join(directory, "journal"), "--socket", l.agent)
	eventually(t, "the agent listens", func() bool {
		conn, err := net.Dial("unix", l.agent)
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
	return l
}

// Starts a program that ends with the test.
func run(t *testing.T, program string, arguments ...string) io.Reader {
	t.Helper()
	command := exec.Command(program, arguments...)
	command.Stderr = t.Output()
	// Not this test's terminal's: Ctrl-C would end it before what it serves is unmounted.
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	stdout, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := command.Process.Signal(syscall.SIGTERM); err != nil {
			t.Errorf("%s ended before the test: %v", program, err)
		}
		if err := command.Wait(); err != nil {
			t.Errorf("%s: %v", program, err)
		}
	})
	return stdout
}

// The config of a VolumeSnapshotLocation in this lab, with changes; an empty value takes a key out.
func (l *lab) config(changes map[string]string) map[string]string {
	l.t.Helper()
	ca, err := os.ReadFile(l.CAFile)
	if err != nil {
		l.t.Fatal(err)
	}
	config := map[string]string{
		"resourceGroup":               l.ResourceGroup,
		"subscriptionId":              l.Subscription,
		"resourceManagerEndpoint":     l.Endpoint,
		"activeDirectoryAuthorityURI": l.Endpoint,
		"credentialsFile":             l.Credentials,
		"caCert":                      string(ca),
		"agent":                       "unix:" + l.agent,
	}
	maps.Copy(config, changes)
	maps.DeleteFunc(config, func(_, value string) bool { return value == "" })
	return config
}

func (l *lab) disk(name string) string {
	return fmt.Sprintf("/subscriptions/%s/resourceGroups/%s/providers/Microsoft.Compute/disks/%s", l.Subscription, l.ResourceGroup, name)
}

// A new disk with an ext4 filesystem, mounted as the CSI driver's volume of this node; returns its mount point.
func (l *lab) mountedDisk(name, zone string) string {
	l.t.Helper()
	id := l.disk(name)
	var disk struct{ File string }
	l.call(http.MethodPost, "/disks", map[string]any{"id": id, "zone": zone}, &disk)
	l.call(http.MethodPost, "/disks/attach", map[string]any{"disk": id, "machine": l.machine()}, nil)
	l.execute("mkfs.ext4", "-q", "-F", disk.File)

	staging := filepath.Join(l.kubelet, "plugins/kubernetes.io/csi/disk.csi.azure.com", fmt.Sprintf("%x", sha256.Sum256([]byte(id))))
	mount := filepath.Join(staging, "globalmount")
	if err := os.MkdirAll(mount, 0o755); err != nil {
		l.t.Fatal(err)
	}
	l.execute("mount", "-o", "loop", disk.File, mount)
	l.t.Cleanup(func() { l.execute("umount", mount) })
	data := fmt.Sprintf(`{"driverName":"disk.csi.azure.com","volumeHandle":%q}`, id)
	if err := os.WriteFile(filepath.Join(staging, "vol_data.json"), []byte(data), 0o600); err != nil {
		l.t.Fatal(err)
	}
	return mount
}

func (l *lab) snapshots() []labSnapshot {
	l.t.Helper()
	var snapshots []labSnapshot
	l.call(http.MethodGet, "/snapshots", nil, &snapshots)
	return snapshots
}

func (l *lab) set(settings string) {
	l.t.Helper()
	l.call(http.MethodPatch, "/settings", json.RawMessage(settings), nil)
}

// Calls the control API.
func (l *lab) call(method, path string, body, answer any) {
	l.t.Helper()
	encoded, err := json.Marshal(body)
	if err != nil {
		l.t.Fatal(err)
	}
	request, err := http.NewRequestWithContext(l.t.Context(), method, l.Control+path, bytes.NewReader(encoded))
	if err != nil {
		l.t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		l.t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode >= 300 {
		l.t.Fatalf("%s %s: %s %s %v", method, path, response.Status, text, err)
	}
	if answer != nil {
		if err := json.Unmarshal(text, answer); err != nil {
			l.t.Fatalf("%s %s: %s: %v", method, path, text, err)
		}
	}
}

func (l *lab) execute(program string, arguments ...string) {
	l.t.Helper()
	if output, err := exec.Command(program, arguments...).CombinedOutput(); err != nil {
		l.t.Fatalf("%s %v: %v\n%s", program, arguments, err, output)
	}
}

// Fails the test if a write to the filesystem does not pass: it is frozen.
func thawed(t *testing.T, mount string) {
	t.Helper()
	written := make(chan error, 1)
	go func() { written <- os.WriteFile(filepath.Join(mount, "probe"), []byte("written"), 0o600) }()
	select {
	case err := <-written:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(15 * time.Second):
		t.Errorf("%s is still frozen", mount)
		// Else the writer, and with it this process, waits for ever.
		_ = exec.Command("fsfreeze", "--unfreeze", mount).Run()
	}
}

func (l *lab) machine() string {
	return fmt.Sprintf("/subscriptions/%s/resourceGroups/%s/providers/Microsoft.Compute/virtualMachines/node-1", l.Subscription, l.ResourceGroup)
}
