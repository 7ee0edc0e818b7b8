package velero

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sirupsen/logrus"
	"github.com/vmware-tanzu/velero/pkg/plugin/clientmgmt"
	"github.com/vmware-tanzu/velero/pkg/plugin/clientmgmt/process"
)

// A Velero server as far as plugins are concerned.
type server struct {
	t        *testing.T
	log      *logbook
	registry process.Registry
	manager  clientmgmt.Manager
	// Where the plugin is installed.
	program string
}

// Installs the plugin into a plugin directory of its own, as its init container does.
func newServer(t *testing.T) *server {
	t.Helper()
	plugin := required(t, "STILLPOINT_PLUGIN")
	directory := t.TempDir()
	if output, err := exec.Command(plugin, "install", directory).CombinedOutput(); err != nil {
		t.Fatalf("install: %v\n%s", err, output)
	}
	return newServerOn(t, directory, "velero-plugin-stillpoint")
}

// The same with any plugin in that directory.
func newServerOn(t *testing.T, directory, program string) *server {
	t.Helper()
	logger := logrus.New()
	logger.SetOutput(io.Discard)
	logger.SetLevel(logrus.DebugLevel)
	log := &logbook{}
	logger.AddHook(log)

	registry := process.NewRegistry(directory, logger, logrus.DebugLevel)
	manager := clientmgmt.NewManager(logger, logrus.DebugLevel, registry)
	t.Cleanup(manager.CleanupClients)
	t.Cleanup(func() {
		if t.Failed() {
			for _, entry := range log.ofPlugin() {
				t.Log(entry.Time.Format(time.StampMicro), entry.Level, entry.Message, entry.Data)
			}
		}
	})
	return &server{t, log, registry, manager, filepath.Join(directory, program)}
}

func (s *server) discover() *server {
	s.t.Helper()
	if err := s.registry.DiscoverPlugins(); err != nil {
		s.t.Fatalf("discovery: %v", err)
	}
	return s
}

// The processes of the plugin that run now.
func (s *server) processes() []int {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		s.t.Fatal(err)
	}
	var running []int
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		// A zombie has none.
		if program, err := os.Readlink(filepath.Join("/proc", entry.Name(), "exe")); err == nil && program == s.program {
			running = append(running, pid)
		}
	}
	return running
}

// The one process that should run.
func (s *server) process() int {
	s.t.Helper()
	running := s.processes()
	if len(running) != 1 {
		s.t.Fatalf("want one process of the plugin, there are %v", running)
	}
	return running[0]
}

// A path in the environment, without which a test has nothing to test.
func required(t *testing.T, variable string) string {
	t.Helper()
	path := os.Getenv(variable)
	if path == "" {
		t.Skipf("SKIPPED: %s is not set; it names the program under test", variable)
	}
	path, err := filepath.Abs(path)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// Waits until a condition holds.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if holds() {
			return
		}
	}
	t.Fatalf("never: %s", what)
}

// A logrus hook that keeps all entries.
type logbook struct {
	lock    sync.Mutex
	entries []logrus.Entry
}

func (l *logbook) Levels() []logrus.Level { return logrus.AllLevels }

func (l *logbook) Fire(entry *logrus.Entry) error {
	l.lock.Lock()
	defer l.lock.Unlock()
	l.entries = append(l.entries, *entry)
	return nil
}

// The entries that the plugin wrote: go-plugin adds its program's name to them.
func (l *logbook) ofPlugin() []logrus.Entry {
	l.lock.Lock()
	defer l.lock.Unlock()
	var found []logrus.Entry
	for _, entry := range l.entries {
		if entry.Data["pluginName"] == "velero-plugin-stillpoint" {
			found = append(found, entry)
		}
	}
	return found
}

func (l *logbook) find(message string) *logrus.Entry {
	for _, entry := range l.ofPlugin() {
		if strings.Contains(entry.Message, message) {
			return &entry
		}
	}
	return nil
}

// Whether anybody wrote it, also go-plugin's own code.
func (l *logbook) contains(message string) bool {
	l.lock.Lock()
	defer l.lock.Unlock()
	return slices.ContainsFunc(l.entries, func(entry logrus.Entry) bool { return strings.Contains(entry.Message, message) })
}
