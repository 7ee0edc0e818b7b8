package velero

import (
	"testing"

	"github.com/sirupsen/logrus"
	"github.com/vmware-tanzu/velero/pkg/plugin/clientmgmt"
	"github.com/vmware-tanzu/velero/pkg/plugin/clientmgmt/process"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

func TestX(t *testing.T) {
	log := logrus.New()
	r := process.NewRegistry("/tmp", log, logrus.DebugLevel)
	_ = clientmgmt.NewManager(log, logrus.DebugLevel, r)
	_ = unstructured.Unstructured{}
}
