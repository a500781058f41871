//go:build kubelet

package kubernetes

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// This test runs the manifests in a whole cluster of one node: API server,
// controllers, scheduler and kubelet, which CLUSTER names the directory of, and
// Debian's etcd.

// cluster is an API server that is asked as its administrator.
type cluster struct {
	url, kubeconfig string
	client          http.Client
}

const adminToken = "admin-of-the-test"

// startCluster starts all but the kubelet.
func startCluster(t *testing.T) *cluster {
	t.Helper()
	programs := os.Getenv("CLUSTER")
	if programs == "" {
		t.Fatal("CLUSTER names no directory of programs: CONTROL_PLANE=1 ./test.sh kubelet builds them")
	}
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	signing := write("signing.pem", string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der})))
	etcd, peer, port := freePort(t), freePort(t), freePort(t)
	c := &cluster{url: "https://127.0.0.1:" + port}
	c.client.Transport = &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}} // its certificate is made as it starts
	c.kubeconfig = write("kubeconfig", fmt.Sprintf(`apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: %q, insecure-skip-tls-verify: true}}]
users: [{name: u, user: {token: %s}}]
contexts: [{name: x, context: {cluster: c, user: u}}]
current-context: x
`, c.url, adminToken))
	background(t, &lockedBuffer{}, "etcd", "--data-dir", dir+"/etcd", "--unsafe-no-fsync",
		"--listen-client-urls", "http://127.0.0.1:"+etcd, "--advertise-client-urls", "http://127.0.0.1:"+etcd,
		"--listen-peer-urls", "http://127.0.0.1:"+peer, "--initial-advertise-peer-urls", "http://127.0.0.1:"+peer, "--initial-cluster", "default=http://127.0.0.1:"+peer)
	log := &lockedBuffer{}
	background(t, log, filepath.Join(programs, "kube-apiserver"), "--etcd-servers", "http://127.0.0.1:"+etcd, "--bind-address", "127.0.0.1", "--secure-port", port,
		"--cert-dir", dir+"/certs", "--service-cluster-ip-range", "10.97.0.0/24", "--authorization-mode", "AlwaysAllow", "--token-auth-file", write("tokens", adminToken+",admin,admin\n"),
		"--service-account-issuer", "https://127.0.0.1", "--service-account-key-file", signing, "--service-account-signing-key-file", signing)
	eventually(t, "the API server is ready", func() (string, bool) {
		code, text := c.ask("GET", "/readyz", nil)
		return text + log.String()[max(0, len(log.String())-500):], code == http.StatusOK
	})
	background(t, &lockedBuffer{}, filepath.Join(programs, "kube-controller-manager"), "--kubeconfig", c.kubeconfig, "--leader-elect=false", "--secure-port", "0",
		"--service-account-private-key-file", signing, "--use-service-account-credentials=false")
	background(t, &lockedBuffer{}, filepath.Join(programs, "kube-scheduler"), "--kubeconfig", c.kubeconfig, "--leader-elect=false", "--secure-port", "0")
	return c
}

// ask sends one request, in YAML or JSON, and returns the answer's code and
// text.
func (c *cluster) ask(method, path string, body []byte) (code int, text string) {
	req, err := http.NewRequestWithContext(context.Background(), method, c.url+path, bytes.NewReader(body))
	if err != nil {
		return 0, err.Error()
	}
	req.Header.Set("Authorization", "Bearer "+adminToken)
	req.Header.Set("Content-Type", "application/yaml")
	resp, err := c.client.Do(req)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	out, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, string(out)
}

// collection is where objects of a kind are created.
func collection(kind, namespace string) string {
	switch kind {
	case "Deployment":
		return "/apis/apps/v1/namespaces/" + namespace + "/deployments"
	case "Namespace":
		return "/api/v1/namespaces"
	}
	return "/api/v1/namespaces/" + namespace + "/" + strings.ToLower(kind) + "s"
}

// TestCluster has the API server validate each manifest, and the Deployment
// run: its events hold the probe's own words.
func TestCluster(t *testing.T) {
	c := startCluster(t)
	const namespace = "restricted"
	code, text := c.ask("POST", collection("Namespace", ""), []byte(`{apiVersion: v1, kind: Namespace, metadata: {name: restricted, labels: {pod-security.kubernetes.io/enforce: restricted}}}`))
	if code != http.StatusCreated {
		t.Fatalf("%d %s", code, text)
	}
	eventually(t, "the namespace has its service account", func() (string, bool) {
		code, text := c.ask("GET", "/api/v1/namespaces/restricted/serviceaccounts/default", nil)
		return text, code == http.StatusOK
	})
	files, err := filepath.Glob("*.yaml")
	if err != nil || len(files) < 2 {
		t.Fatalf("%v %v", files, err)
	}
	var deployment *appsv1.Deployment
	for _, file := range files {
		for _, o := range decode(t, file) {
			body, err := json.Marshal(o)
			if err != nil {
				t.Fatal(err)
			}
			kind := o.GetObjectKind().GroupVersionKind().Kind
			if code, text := c.ask("POST", collection(kind, namespace)+"?dryRun=All&fieldValidation=Strict", body); code != http.StatusCreated {
				t.Errorf("%s: %s: %d %s", file, kind, code, text)
			}
			d, ok := o.(*appsv1.Deployment)
			if !ok {
				continue
			}
			deployment = d
			// Pod Security only warns of a Deployment: it refuses its pods.
			pod, err := json.Marshal(corev1.Pod{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"}, ObjectMeta: metav1.ObjectMeta{Name: "template"}, Spec: d.Spec.Template.Spec})
			if err != nil {
				t.Fatal(err)
			}
			if code, text := c.ask("POST", collection("Pod", namespace)+"?dryRun=All&fieldValidation=Strict", pod); code != http.StatusCreated {
				t.Errorf("%s: its pods: %d %s", file, code, text)
			}
		}
	}
	// What Pod Security is there to refuse is refused: the namespace is.
	if code, text := c.ask("POST", collection("Pod", namespace)+"?dryRun=All", []byte(`{apiVersion: v1, kind: Pod, metadata: {name: x}, spec: {containers: [{name: x, image: x}]}}`)); code != http.StatusForbidden {
		t.Errorf("%d %s", code, text)
	}

	im := buildImages(t)
	n := startNode(t, im, c.kubeconfig)
	im.suit(t, &deployment.Spec.Template.Spec)
	one := int32(1)
	deployment.Spec.Replicas = &one
	deployment.Spec.Template.Spec.Tolerations = []corev1.Toleration{{Operator: corev1.TolerationOpExists}} // the node has no network of pods
	deployment.APIVersion, deployment.Kind = "apps/v1", "Deployment"
	body, err := json.Marshal(deployment)
	if err != nil {
		t.Fatal(err)
	}
	if code, text := c.ask("POST", collection("Deployment", "default"), body); code != http.StatusCreated {
		t.Fatalf("%d %s", code, text)
	}
	available := func(want int32) {
		t.Helper()
		eventually(t, fmt.Sprintf("%d replicas are available", want), func() (string, bool) {
			var d appsv1.Deployment
			_, text := c.ask("GET", collection("Deployment", "default")+"/"+deployment.Name, nil)
			if err := json.Unmarshal([]byte(text), &d); err != nil {
				return text, false
			}
			status, _ := json.Marshal(d.Status)
			log := n.log.String()
			return string(status) + log[max(0, len(log)-500):], d.Status.Replicas == 1 && d.Status.AvailableReplicas == want
		})
	}
	event := func(reason, words string) {
		t.Helper()
		eventually(t, reason+": "+words, func() (string, bool) {
			var list corev1.EventList
			_, text := c.ask("GET", "/api/v1/namespaces/default/events", nil)
			if err := json.Unmarshal([]byte(text), &list); err != nil {
				return text, false
			}
			var seen []string
			for _, e := range list.Items {
				seen = append(seen, fmt.Sprintf("%s x%d %s", e.Reason, e.Count, e.Message))
				if e.Reason == reason && strings.Contains(e.Message, words) {
					return "", true
				}
			}
			return strings.Join(seen, "\n"), false
		})
	}
	available(1)
	signalTo(t, im.listen, syscall.SIGUSR1)
	available(0)
	event("Unhealthy", "Readiness probe failed: unhealthy: 1 of 3 failed: db: GET http://"+im.listen+"/db/health: status 503")
	signalTo(t, im.listen, syscall.SIGUSR2)
	available(1)
	signalTo(t, im.listen, syscall.SIGSTOP)
	event("Unhealthy", "Liveness probe failed: unhealthy: 1 of 1 failed: api: GET http://"+im.listen+"/health: no answer within ")
	event("Killing", "failed liveness probe, will be restarted")
	available(1)
	if code, text := c.ask("DELETE", collection("Deployment", "default")+"/"+deployment.Name, nil); code != http.StatusOK {
		t.Errorf("%d %s", code, text)
	}
	eventually(t, "the pod is gone", func() (string, bool) {
		out, err := exec.Command("ctr", "--address", n.socket, "--namespace", "k8s.io", "tasks", "ls", "-q").CombinedOutput()
		return string(out), err == nil && strings.TrimSpace(string(out)) == ""
	})
}
