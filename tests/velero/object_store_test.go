package velero

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
	"github.com/vmware-tanzu/velero/pkg/plugin/velero"
)

// Another program that works on the same container, in ways that ours must agree with.
type peer struct {
	name  string
	store velero.ObjectStore
}

// The SDK that the stock plugin is made of, called as it calls it; and the stock plugin itself where STOCK_PLUGIN names it.
func (a *azurite) peers() []peer {
	peers := []peer{{"azblob", &sdkStore{a.client()}}}
	if program := os.Getenv("STOCK_PLUGIN"); program != "" {
		directory := a.t.TempDir()
		if err := os.Symlink(program, filepath.Join(directory, filepath.Base(program))); err != nil {
			a.t.Fatal(err)
		}
		server := newServerOn(a.t, directory, filepath.Base(program)).discover()
		peers = append(peers, peer{"stock plugin", server.objectStore("velero.io/azure", a.config(nil))})
	}
	return peers
}

func (s *server) objectStore(name string, config map[string]string) velero.ObjectStore {
	s.t.Helper()
	store, err := s.manager.GetObjectStore(name)
	if err != nil {
		s.t.Fatal(err)
	}
	if err := store.Init(config); err != nil {
		s.t.Fatalf("Init: %v", err)
	}
	return store
}

// Keys as Velero makes them, and worse.
var keys = []string{
	"backups/nightly/nightly.tar.gz",
	"backups/nightly/velero-backup.json",
	"backups/nightly-2/velero-backup.json",
	"restores/a b/restore-a b-logs.gz",
	"prefix/with+plus/100%/%41/#1/a?b=c&d",
	"prefix/ünï/日本語/🙂",
	"prefix/'quoted' \"twice\" <xml> & more;=,@!$()*[]{}~^`|",
	"prefix/double//slash",
	"prefix/./dot/../dots",
	"prefix/trailing/",
	"/leading",
	"UPPER/lower",
	"upper/lower",
	strings.Repeat("long/", 180) + "key",
}

func TestEachReadsWhatTheOtherWrote(t *testing.T) {
	blobs := newAzurite(t)
	ours := newServer(t).discover().objectStore(ownName, blobs.config(nil))
	for _, peer := range blobs.peers() {
		t.Run(peer.name, func(t *testing.T) {
			for i, key := range keys {
				data := random(t, 1000*i+1)
				for _, way := range []struct {
					name     string
					from, to velero.ObjectStore
				}{{"ours to theirs", ours, peer.store}, {"theirs to ours", peer.store, ours}} {
					bucket := blobs.container()
					if err := way.from.PutObject(bucket, key, bytes.NewReader(data)); err != nil {
						t.Errorf("%s, %q: put: %v", way.name, key, err)
						continue
					}
					if exists, err := way.to.ObjectExists(bucket, key); err != nil || !exists {
						t.Errorf("%s, %q: exists is %v, %v", way.name, key, exists, err)
					}
					if got, err := read(way.to, bucket, key); err != nil || !bytes.Equal(got, data) {
						t.Errorf("%s, %q: read %d of %d bytes, %v", way.name, key, len(got), len(data), err)
					}
					url, err := way.from.CreateSignedURL(bucket, key, time.Minute)
					if err != nil {
						t.Errorf("%s, %q: signed URL: %v", way.name, key, err)
					} else if got, err := blobs.download(url); err != nil || !bytes.Equal(got, data) {
						t.Errorf("%s, %q: the signed URL gives %d of %d bytes, %v", way.name, key, len(got), len(data), err)
					}
					if err := way.to.DeleteObject(bucket, key); err != nil {
						t.Errorf("%s, %q: delete: %v", way.name, key, err)
					}
					if exists, err := way.from.ObjectExists(bucket, key); err != nil || exists {
						t.Errorf("%s, %q: exists after its deletion is %v, %v", way.name, key, exists, err)
					}
				}
			}
		})
	}
}

func TestObjectsOfManyBlocksAgree(t *testing.T) {
	blobs := newAzurite(t)
	bucket, server := blobs.container(), newServer(t).discover()
	data := random(t, 11<<20+17)
	for name, config := range map[string]map[string]string{
		"default":     nil,
		"1 MiB":       {"blockSizeInBytes": "1048576"},
		"odd":         {"blockSizeInBytes": "777777"},
		"larger than": {"blockSizeInBytes": "104857600"},
	} {
		ours := server.objectStore(ownName, blobs.config(config))
		key := "blocks/" + name
		// Replaces what the one before it wrote.
		for _, size := range []int{len(data), 4 << 20, 1 << 20, 1} {
			if err := ours.PutObject(bucket, key, bytes.NewReader(data[:size])); err != nil {
				t.Errorf("%s: put %d: %v", name, size, err)
			}
			for _, peer := range append(blobs.peers(), peer{"ours", ours}) {
				if got, err := read(peer.store, bucket, key); err != nil || !bytes.Equal(got, data[:size]) {
					t.Errorf("%s: %s read %d of %d bytes, %v", name, peer.name, len(got), size, err)
				}
			}
		}
	}
}

func TestListsAreThePeers(t *testing.T) {
	blobs := newAzurite(t)
	bucket := blobs.container()
	ours := newServer(t).discover().objectStore(ownName, blobs.config(nil))
	peers := blobs.peers()
	for _, key := range keys {
		if err := peers[0].store.PutObject(bucket, key, strings.NewReader("x")); err != nil {
			t.Fatalf("%q: %v", key, err)
		}
	}
	prefixes := []string{"", "backups/", "backups/nightly", "backups/nightly/", "prefix/", "prefix/with+", "prefix/ü", "prefix/double/",
		"prefix/double//", "prefix/'", "/", "no such", "UPPER", "backups/nightly/nightly.tar.gz", "prefix/trailing/", "prefix/with+plus/100%/"}
	for _, peer := range peers {
		for _, prefix := range prefixes {
			want, wantErr := peer.store.ListObjects(bucket, prefix)
			got, err := ours.ListObjects(bucket, prefix)
			if !slices.Equal(got, want) || (err == nil) != (wantErr == nil) {
				t.Errorf("%s, objects of %q: %q, %v; want %q, %v", peer.name, prefix, got, err, want, wantErr)
			}
			for _, delimiter := range []string{"/", "-", "//", "%"} {
				want, wantErr := peer.store.ListCommonPrefixes(bucket, prefix, delimiter)
				got, err := ours.ListCommonPrefixes(bucket, prefix, delimiter)
				if !slices.Equal(got, want) || (err == nil) != (wantErr == nil) {
					t.Errorf("%s, prefixes of %q by %q: %q, %v; want %q, %v", peer.name, prefix, delimiter, got, err, want, wantErr)
				}
			}
		}
	}
}

func TestListsOfManyPagesAreWhole(t *testing.T) {
	blobs := newAzurite(t)
	bucket, client := blobs.container(), blobs.client()
	const directories, files = 110, 50
	work := make(chan string)
	failed := make(chan error, 1)
	for range 16 {
		go func() {
			for key := range work {
				if _, err := client.UploadBuffer(context.Background(), bucket, key, nil, nil); err != nil {
					failed <- err
				}
			}
			failed <- nil
		}()
	}
	for directory := range directories {
		for file := range files {
			work <- fmt.Sprintf("many/%03d/%02d", directory, file)
		}
	}
	close(work)
	for range 16 {
		if err := <-failed; err != nil {
			t.Fatal(err)
		}
	}
	ours := newServer(t).discover().objectStore(ownName, blobs.config(nil))
	objects, err := ours.ListObjects(bucket, "many/")
	if err != nil || len(objects) != directories*files || !slices.IsSorted(objects) {
		t.Errorf("%d objects, sorted %v, error %v", len(objects), slices.IsSorted(objects), err)
	}
	prefixes, err := ours.ListCommonPrefixes(bucket, "many/", "/")
	if err != nil || len(prefixes) != directories || !slices.IsSorted(prefixes) {
		t.Errorf("%d prefixes, sorted %v, error %v", len(prefixes), slices.IsSorted(prefixes), err)
	}
	if want, err := blobs.peers()[0].store.ListObjects(bucket, "many/"); err != nil || !slices.Equal(objects, want) {
		t.Errorf("the SDK lists otherwise, error %v", err)
	}
}

func TestWhatIsNotThere(t *testing.T) {
	blobs := newAzurite(t)
	bucket := blobs.container()
	ours := newServer(t).discover().objectStore(ownName, blobs.config(nil))
	if exists, err := ours.ObjectExists(bucket, "nothing"); err != nil || exists {
		t.Errorf("exists is %v, %v", exists, err)
	}
	if _, err := read(ours, bucket, "nothing"); err == nil || !strings.Contains(err.Error(), "nothing") {
		t.Errorf("reading it: %v", err)
	}
	if err := ours.DeleteObject(bucket, "nothing"); err != nil {
		t.Errorf("deleting it: %v", err)
	}
	if exists, err := ours.ObjectExists("no-such-container", "nothing"); err != nil || exists {
		t.Errorf("without the container, exists is %v, %v", exists, err)
	}
	for what, err := range map[string]error{
		"put":    ours.PutObject("no-such-container", "key", strings.NewReader("x")),
		"list":   second(ours.ListObjects("no-such-container", "")),
		"prefix": second(ours.ListCommonPrefixes("no-such-container", "", "/")),
		"delete": ours.DeleteObject("no-such-container", "key"),
		"get":    second(read(ours, "no-such-container", "key")),
	} {
		if err == nil || !strings.Contains(err.Error(), "no-such-container") || !strings.Contains(err.Error(), blobs.account) {
			t.Errorf("%s without the container: %v", what, err)
		}
	}
}

// The cause of a failure reaches Velero also while it is still sending.
func TestPutThatFailsEarlyTellsWhy(t *testing.T) {
	blobs := newAzurite(t)
	server := newServer(t).discover()
	ours := server.objectStore(ownName, blobs.config(map[string]string{"blockSizeInBytes": "65536"}))
	err := ours.PutObject("no-such-container", "key", bytes.NewReader(random(t, 8<<20)))
	if err == nil || !strings.Contains(err.Error(), "no-such-container") {
		t.Errorf("error is %v", err)
	}
}

func read(store velero.ObjectStore, bucket, key string) ([]byte, error) {
	body, err := store.GetObject(bucket, key)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	return io.ReadAll(body)
}

func second[T any](_ T, err error) error { return err }

func random(t *testing.T, size int) []byte {
	t.Helper()
	data := make([]byte, size)
	if _, err := rand.Read(data); err != nil {
		t.Fatal(err)
	}
	return data
}

// The stock plugin's calls of its SDK.
type sdkStore struct{ client *azblob.Client }

func (s *sdkStore) Init(map[string]string) error { return nil }

func (s *sdkStore) PutObject(bucket, key string, body io.Reader) error {
	_, err := s.client.UploadStream(context.Background(), bucket, key, body, nil)
	return err
}

func (s *sdkStore) ObjectExists(bucket, key string) (bool, error) {
	_, err := s.client.ServiceClient().NewContainerClient(bucket).NewBlobClient(key).GetProperties(context.Background(), nil)
	if missing(err) {
		return false, nil
	}
	return err == nil, err
}

func (s *sdkStore) GetObject(bucket, key string) (io.ReadCloser, error) {
	answer, err := s.client.DownloadStream(context.Background(), bucket, key, nil)
	return answer.Body, err
}

func (s *sdkStore) ListCommonPrefixes(bucket, prefix, delimiter string) ([]string, error) {
	options := container.ListBlobsHierarchyOptions{Prefix: &prefix}
	pager := s.client.ServiceClient().NewContainerClient(bucket).NewListBlobsHierarchyPager(delimiter, &options)
	var prefixes []string
	for pager.More() {
		page, err := pager.NextPage(context.Background())
		if err != nil {
			return nil, err
		}
		for _, prefix := range page.Segment.BlobPrefixes {
			prefixes = append(prefixes, *prefix.Name)
		}
	}
	return prefixes, nil
}

func (s *sdkStore) ListObjects(bucket, prefix string) ([]string, error) {
	pager := s.client.NewListBlobsFlatPager(bucket, &azblob.ListBlobsFlatOptions{Prefix: &prefix})
	var objects []string
	for pager.More() {
		page, err := pager.NextPage(context.Background())
		if err != nil {
			return nil, err
		}
		for _, blob := range page.Segment.BlobItems {
			objects = append(objects, *blob.Name)
		}
	}
	return objects, nil
}

func (s *sdkStore) DeleteObject(bucket, key string) error {
	_, err := s.client.DeleteBlob(context.Background(), bucket, key, nil)
	return err
}

func (s *sdkStore) CreateSignedURL(bucket, key string, ttl time.Duration) (string, error) {
	blob := s.client.ServiceClient().NewContainerClient(bucket).NewBlobClient(key)
	return blob.GetSASURL(readOnly, time.Now().Add(ttl), nil)
}

func (a *azurite) download(url string) ([]byte, error) {
	answer, err := a.http().Get(url)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s", answer.Status, body)
	}
	return body, err
}
