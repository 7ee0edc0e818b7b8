package velero

import (
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/sirupsen/logrus"
	"github.com/vmware-tanzu/velero/pkg/plugin/clientmgmt/process"
	"github.com/vmware-tanzu/velero/pkg/plugin/framework"
	"github.com/vmware-tanzu/velero/pkg/plugin/framework/common"
)

func (s *server) start() process.RestartableProcess {
	s.t.Helper()
	logger := logrus.New()
	logger.SetLevel(logrus.DebugLevel)
	logger.SetOutput(s.t.Output())
	logger.AddHook(s.log)
	running, err := process.NewRestartableProcessFactory().NewRestartableProcess(s.program, logger, logrus.DebugLevel)
	if err != nil {
		s.t.Fatalf("start: %v", err)
	}
	s.t.Cleanup(running.Stop)
	return running
}

func list(t *testing.T, running process.RestartableProcess) []framework.PluginIdentifier {
	t.Helper()
	lister, err := running.GetByKindAndName(process.KindAndName{Kind: common.PluginKindPluginLister})
	if err != nil {
		t.Fatal(err)
	}
	plugins, err := lister.(framework.PluginLister).ListPlugins()
	if err != nil {
		t.Fatal(err)
	}
	return plugins
}

func TestLogIsStructured(t *testing.T) {
	server := newServer(t)
	running := server.start()
	list(t, running)
	eventually(t, "the plugin logs that it serves", func() bool { return server.log.find("serving") != nil })
	entry := server.log.find("serving")
	if entry.Level != logrus.DebugLevel {
		t.Errorf("level is %v, want debug", entry.Level)
	}
	if entry.Message != "serving" {
		t.Errorf("message is %q, want its text alone", entry.Message)
	}
	if socket, ok := entry.Data["socket"].(string); !ok || !strings.HasPrefix(socket, "/") {
		t.Errorf("fields are %v, want the socket among them", entry.Data)
	}
}

func TestProcessEndsWhenItIsStopped(t *testing.T) {
	server := newServer(t)
	running := server.start()
	server.process()
	running.Stop()
	if left := server.processes(); len(left) != 0 {
		t.Errorf("still running: %v", left)
	}
	server.log.lock.Lock()
	defer server.log.lock.Unlock()
	for _, entry := range server.log.entries {
		if strings.Contains(entry.Message, "failed to exit gracefully") {
			t.Error("go-plugin had to kill it")
		}
	}
}

func TestKilledProcessIsStartedAgain(t *testing.T) {
	server := newServer(t)
	running := server.start()
	list(t, running)
	former := server.process()
	if err := syscall.Kill(former, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a new process", func() bool {
		if err := running.ResetIfNeeded(); err != nil {
			t.Fatal(err)
		}
		now := server.processes()
		return len(now) == 1 && now[0] != former
	})
	if got := len(list(t, running)); got != 2 {
		t.Errorf("%d plugins after the restart, want 2", got)
	}
}

func TestInterruptIsTheHosts(t *testing.T) {
	server := newServer(t)
	running := server.start()
	if err := syscall.Kill(server.process(), syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if got := len(list(t, running)); got != 2 {
		t.Errorf("%d plugins after an interrupt, want 2", got)
	}
}

func TestCallsBeforeInitSaySo(t *testing.T) {
	server := newServer(t).discover()
	snapshotter, err := server.manager.GetVolumeSnapshotter("stillpoint.io/azure")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := snapshotter.CreateSnapshot("disk", "", nil); err == nil || !strings.Contains(err.Error(), "was not initialized") {
		t.Errorf("error is %v", err)
	}
}

func TestOneProcessServesCallsAtOnce(t *testing.T) {
	server := newServer(t)
	running := server.start()
	var calls sync.WaitGroup
	for range 50 {
		calls.Go(func() {
			if got := len(list(t, running)); got != 2 {
				t.Errorf("%d plugins, want 2", got)
			}
		})
	}
	calls.Wait()
	server.process()
}
