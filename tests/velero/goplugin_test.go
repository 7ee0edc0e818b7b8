package velero

import (
	"errors"
	"io"
	"os/exec"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"github.com/vmware-tanzu/velero/pkg/plugin/framework"
	"github.com/vmware-tanzu/velero/pkg/plugin/framework/common"
)

func client(t *testing.T, config plugin.ClientConfig) *plugin.Client {
	config.HandshakeConfig = framework.Handshake()
	config.AllowedProtocols = []plugin.Protocol{plugin.ProtocolGRPC}
	if config.VersionedPlugins == nil {
		config.Plugins = map[string]plugin.Plugin{common.PluginKindPluginLister.String(): &framework.PluginListerPlugin{}}
	}
	config.Logger = hclog.New(&hclog.LoggerOptions{Output: io.Discard})
	config.Cmd = exec.Command(required(t, "STILLPOINT_PLUGIN"))
	client := plugin.NewClient(&config)
	t.Cleanup(client.Kill)
	return client
}

// Velero does not ask for it; go-plugin's own client does when told to.
func TestMutualTLSWithGoPlugin(t *testing.T) {
	protocol, err := client(t, plugin.ClientConfig{AutoMTLS: true}).Client()
	if err != nil {
		t.Fatal(err)
	}
	if err := protocol.Ping(); err != nil {
		t.Errorf("ping: %v", err)
	}
	lister, err := protocol.Dispense(common.PluginKindPluginLister.String())
	if err != nil {
		t.Fatal(err)
	}
	if plugins, err := lister.(framework.PluginLister).ListPlugins(); err != nil || len(plugins) != 2 {
		t.Errorf("plugins are %v, error %v", plugins, err)
	}
}

func TestPingWithGoPlugin(t *testing.T) {
	protocol, err := client(t, plugin.ClientConfig{}).Client()
	if err != nil {
		t.Fatal(err)
	}
	if err := protocol.Ping(); err != nil {
		t.Errorf("ping: %v", err)
	}
}

func TestMultiplexingIsDeclinedInGoPluginsWay(t *testing.T) {
	_, err := client(t, plugin.ClientConfig{GRPCBrokerMultiplex: true}).Client()
	if !errors.Is(err, plugin.ErrGRPCBrokerMuxNotSupported) {
		t.Errorf("error is %v", err)
	}
}

func TestOtherVersionIsExplained(t *testing.T) {
	_, err := client(t, plugin.ClientConfig{VersionedPlugins: map[int]plugin.PluginSet{3: {}}}).Client()
	if err == nil || !strings.Contains(err.Error(), "Plugin version: 2, Client versions: [3]") {
		t.Errorf("error is %v", err)
	}
}
