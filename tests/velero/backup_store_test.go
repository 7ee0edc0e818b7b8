package velero

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/sirupsen/logrus"
	velerov1 "github.com/vmware-tanzu/velero/pkg/apis/velero/v1"
	"github.com/vmware-tanzu/velero/pkg/builder"
	"github.com/vmware-tanzu/velero/pkg/persistence"
	"github.com/vmware-tanzu/velero/pkg/repository/udmrepo"
	"github.com/vmware-tanzu/velero/pkg/repository/udmrepo/kopialib"
)

// A BackupStorageLocation as a cluster has it.
func (a *azurite) location(bucket, prefix string) *velerov1.BackupStorageLocation {
	location := builder.ForBackupStorageLocation("velero", "default").Provider("velero.io/azure").Bucket(bucket).Prefix(prefix).
		CACert(a.ca).Result()
	location.Spec.Config = a.config(map[string]string{"caCert": ""})
	return location
}

func (s *server) backupStore(location *velerov1.BackupStorageLocation) persistence.BackupStore {
	s.t.Helper()
	store, err := persistence.NewObjectBackupStoreGetter(nil).Get(location, s.manager, silent())
	if err != nil {
		s.t.Fatal(err)
	}
	return store
}

// What Velero's server keeps of a backup, written and read by Velero's own code.
func TestVelerosBackupStore(t *testing.T) {
	t.Setenv("STILLPOINT_ALSO_SERVE", "velero.io/azure")
	blobs := newAzurite(t)
	server := newServer(t).discover()
	for _, prefix := range []string{"", "cluster a/of+team#1", "ünï%41"} {
		t.Run(prefix, func(t *testing.T) {
			bucket := blobs.container()
			store := server.backupStore(blobs.location(bucket, prefix))
			if err := store.IsValid(); err != nil {
				t.Fatalf("an empty location is not valid: %v", err)
			}
			contents := random(t, 5<<20)
			for _, name := range []string{"nightly", "nightly-2"} {
				info := persistence.BackupInfo{
					Name:     name,
					Metadata: strings.NewReader(`{"kind":"Backup","apiVersion":"velero.io/v1","metadata":{"name":"` + name + `"}}`),
					Contents: bytes.NewReader(contents),
					Log:      zipped(t, "the log of "+name),
				}
				if err := store.PutBackup(info); err != nil {
					t.Fatalf("%s: %v", name, err)
				}
			}
			// In the order of the store, in which - comes before /.
			if backups, err := store.ListBackups(); err != nil || !slices.Equal(backups, []string{"nightly-2", "nightly"}) {
				t.Errorf("backups are %q, %v", backups, err)
			}
			if backup, err := store.GetBackupMetadata("nightly"); err != nil || backup.Name != "nightly" {
				t.Errorf("metadata is %v, %v", backup, err)
			}
			if body, err := store.GetBackupContents("nightly"); err != nil {
				t.Error(err)
			} else if got, err := io.ReadAll(body); err != nil || !bytes.Equal(got, contents) {
				t.Errorf("read %d of %d bytes, %v", len(got), len(contents), err)
			}
			// As `velero backup logs` reads it.
			url, err := store.GetDownloadURL(velerov1.DownloadTarget{Kind: velerov1.DownloadTargetKindBackupLog, Name: "nightly"})
			if err != nil {
				t.Fatal(err)
			}
			body, err := blobs.download(url)
			if err != nil {
				t.Fatalf("%s: %v", url, err)
			}
			if unzipped, err := gzip.NewReader(bytes.NewReader(body)); err != nil {
				t.Error(err)
			} else if log, err := io.ReadAll(unzipped); err != nil || string(log) != "the log of nightly" {
				t.Errorf("the log is %q, %v", log, err)
			}
			if err := store.DeleteBackup("nightly"); err != nil {
				t.Error(err)
			}
			if backups, err := store.ListBackups(); err != nil || !slices.Equal(backups, []string{"nightly-2"}) {
				t.Errorf("after the deletion, backups are %q, %v", backups, err)
			}
			if err := store.IsValid(); err != nil {
				t.Error(err)
			}
		})
	}
}

// A backup whose own data cannot be read to its end leaves nothing behind that looks like a backup.
func TestBackupThatBreaksOffIsNotListed(t *testing.T) {
	t.Setenv("STILLPOINT_ALSO_SERVE", "velero.io/azure")
	blobs := newAzurite(t)
	store := newServer(t).discover().backupStore(blobs.location(blobs.container(), ""))
	broken := io.MultiReader(bytes.NewReader(random(t, 1<<20)), failing{})
	err := store.PutBackup(persistence.BackupInfo{Name: "broken", Metadata: strings.NewReader("{}"), Contents: broken, Log: zipped(t, "log")})
	if err == nil || !strings.Contains(err.Error(), "disk on fire") {
		t.Errorf("error is %v", err)
	}
	if _, err := store.GetBackupMetadata("broken"); err == nil {
		t.Error("its metadata is still there")
	}
}

func silent() *logrus.Logger {
	logger := logrus.New()
	logger.SetOutput(io.Discard)
	return logger
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, fmt.Errorf("disk on fire") }

func zipped(t *testing.T, text string) io.Reader {
	t.Helper()
	var buffer bytes.Buffer
	writer := gzip.NewWriter(&buffer)
	if _, err := writer.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := writer.Close(); err != nil {
		t.Fatal(err)
	}
	return &buffer
}

// Velero's file-system backup and its data mover keep a kopia repository of their own in the location, by their own code,
// from the same config.
func TestKopiaRepositoryLivesBesideTheBackups(t *testing.T) {
	t.Setenv("STILLPOINT_ALSO_SERVE", "velero.io/azure")
	t.Setenv("HOME", t.TempDir())
	blobs := newAzurite(t)
	bucket := blobs.container()
	store := newServer(t).discover().backupStore(blobs.location(bucket, "cluster"))
	if err := store.PutBackup(persistence.BackupInfo{
		Name: "nightly", Metadata: strings.NewReader("{}"), Contents: strings.NewReader("x"), Log: zipped(t, "log"),
	}); err != nil {
		t.Fatal(err)
	}

	storage := blobs.config(map[string]string{"caCert": ""})
	storage[udmrepo.StoreOptionOssBucket] = bucket
	storage[udmrepo.StoreOptionPrefix] = "cluster/kopia/shop/"
	storage[udmrepo.StoreOptionCACert] = base64.StdEncoding.EncodeToString(blobs.ca)
	options := udmrepo.RepoOptions{
		StorageType:    udmrepo.StorageTypeAzure,
		RepoPassword:   "a password of tests",
		ConfigFilePath: filepath.Join(t.TempDir(), "repository.config"),
		GeneralOptions: map[string]string{
			udmrepo.GenOptionOwnerName:   "tests",
			udmrepo.GenOptionOwnerDomain: "tests",
		},
		StorageOptions: storage,
		Description:    "tests",
	}
	kopia := kopialib.NewKopiaRepoService(silent())
	if err := kopia.Create(context.Background(), options); err != nil {
		t.Fatalf("create: %v", err)
	}
	if err := kopia.Connect(context.Background(), options); err != nil {
		t.Fatalf("connect: %v", err)
	}
	opened, err := kopia.Open(context.Background(), options)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	defer opened.Close(context.Background())
	data := random(t, 3<<20)
	writer := opened.NewObjectWriter(context.Background(), udmrepo.ObjectWriteOptions{FullPath: "volume", DataType: udmrepo.ObjectDataTypeData})
	if _, err := writer.Write(data); err != nil {
		t.Fatal(err)
	}
	id, err := writer.Result()
	if err != nil {
		t.Fatal(err)
	}
	if err := opened.Flush(context.Background()); err != nil {
		t.Fatal(err)
	}
	reader, err := opened.OpenObject(context.Background(), id)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(reader); err != nil || !bytes.Equal(got, data) {
		t.Errorf("kopia read %d of %d bytes, %v", len(got), len(data), err)
	}

	if err := store.IsValid(); err != nil {
		t.Errorf("with a repository in it the location is not valid: %v", err)
	}
	if backups, err := store.ListBackups(); err != nil || !slices.Equal(backups, []string{"nightly"}) {
		t.Errorf("backups are %q, %v", backups, err)
	}
	ours := newServer(t).discover().objectStore(ownName, blobs.config(nil))
	if objects, err := ours.ListObjects(bucket, "cluster/kopia/shop/"); err != nil || !slices.ContainsFunc(objects, func(key string) bool {
		return strings.HasSuffix(key, "kopia.repository")
	}) {
		t.Errorf("the repository's objects are %q, %v", objects, err)
	}
}
