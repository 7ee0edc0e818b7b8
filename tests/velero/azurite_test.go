package velero

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"maps"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"syscall"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/bloberror"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/sas"
)

// A real blob server with one storage account.
type azurite struct {
	t           *testing.T
	account     string
	key         string
	endpoint    string
	ca          []byte
	credentials string
	containers  int
}

const keyVariable = "BACKUP_ACCOUNT_KEY"

var (
	readOnly = sas.BlobPermissions{Read: true}
	listens  = regexp.MustCompile(`listens on (https://\S+)`)
)

func missing(err error) bool {
	return bloberror.HasCode(err, bloberror.BlobNotFound, bloberror.ContainerNotFound)
}

func newAzurite(t *testing.T) *azurite {
	t.Helper()
	directory := t.TempDir()
	a := &azurite{
		t:           t,
		account:     "backups",
		key:         base64.StdEncoding.EncodeToString(random(t, 64)),
		credentials: filepath.Join(directory, "credentials"),
	}
	if err := os.WriteFile(a.credentials, fmt.Appendf(nil, "%s=%s\n", keyVariable, a.key), 0o600); err != nil {
		t.Fatal(err)
	}
	a.certificates(directory)

	command := exec.Command("node", "../azurite/node_modules/azurite/dist/src/blob/main.js", "--blobPort", "0",
		"--location", filepath.Join(directory, "blobs"), "--disableTelemetry", "--skipApiVersionCheck", "--silent",
		"--cert", filepath.Join(directory, "cert.pem"), "--key", filepath.Join(directory, "key.pem"))
	command.Env = append(os.Environ(), fmt.Sprintf("AZURITE_ACCOUNTS=%s:%s", a.account, a.key))
	command.Stderr = t.Output()
	command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	stdout, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatalf("Azurite does not start (`make setup` installs it): %v", err)
	}
	t.Cleanup(func() {
		_ = command.Process.Kill()
		_ = command.Wait()
	})
	for lines := bufio.NewScanner(stdout); lines.Scan(); {
		if found := listens.FindStringSubmatch(lines.Text()); found != nil {
			a.endpoint = found[1] + "/" + a.account
			return a
		}
	}
	t.Fatal("Azurite ended before it listened")
	return nil
}

// A certificate authority, and a certificate of it for this host.
func (a *azurite) certificates(directory string) {
	a.t.Helper()
	check := func(err error) {
		if err != nil {
			a.t.Helper()
			a.t.Fatal(err)
		}
	}
	authority, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(err)
	root := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "tests"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, root, root, authority.Public(), authority)
	check(err)
	a.ca = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})

	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(err)
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "azurite"}, NotBefore: root.NotBefore, NotAfter: root.NotAfter,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err = x509.CreateCertificate(rand.Reader, leaf, root, key.Public(), authority)
	check(err)
	check(os.WriteFile(filepath.Join(directory, "cert.pem"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	der, err = x509.MarshalPKCS8PrivateKey(key)
	check(err)
	check(os.WriteFile(filepath.Join(directory, "key.pem"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600))
}

func (a *azurite) http() *http.Client {
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(a.ca)
	return &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, DisableKeepAlives: true}}
}

func (a *azurite) client() *azblob.Client {
	a.t.Helper()
	credential, err := azblob.NewSharedKeyCredential(a.account, a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	options := &azblob.ClientOptions{ClientOptions: policy.ClientOptions{Transport: a.http()}}
	client, err := azblob.NewClientWithSharedKeyCredential(a.endpoint, credential, options)
	if err != nil {
		a.t.Fatal(err)
	}
	return client
}

// A new container.
func (a *azurite) container() string {
	a.t.Helper()
	a.containers++
	name := fmt.Sprintf("velero-%d", a.containers)
	if _, err := a.client().CreateContainer(a.t.Context(), name, nil); err != nil {
		a.t.Fatal(err)
	}
	return name
}

// The config of a BackupStorageLocation with an account key, with changes; an empty value takes a key out. It holds nothing
// but what the stock plugin knows.
func (a *azurite) config(changes map[string]string) map[string]string {
	config := map[string]string{
		"storageAccount":          a.account,
		"storageAccountURI":       a.endpoint,
		"storageAccountKeyEnvVar": keyVariable,
		"credentialsFile":         a.credentials,
		"caCert":                  string(a.ca),
	}
	maps.Copy(config, changes)
	maps.DeleteFunc(config, func(_, value string) bool { return value == "" })
	return config
}
