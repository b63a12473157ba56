package main

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"time"

	"github.com/covetpy/covet/test/kubetest"
)

// stage is what the demonstration is played on.
type stage struct {
	covetctl string
	cluster  *kubetest.Cluster
	real     bool
	images   string // folder of the archives
	load     *kubetest.Load
}

// address is the Service's, always the same so that the load finds it.
const address = "10.96.0.80"

func startStage(ctx context.Context, covetctl string, simulated bool) (s *stage, err error) {
	s = &stage{covetctl: covetctl}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
		}
	}()
	if err := kubetest.RealPossible(); err != nil && !simulated {
		fmt.Printf("the pods are simulated: %v\n", err)
	} else {
		s.real = !simulated
	}
	o := kubetest.Options{Real: s.real}
	digests := map[string]string{}
	if s.real {
		if s.images, err = os.MkdirTemp("", "covet-images-"); err != nil {
			return s, err
		}
		o.Images = s.images
		if digests, err = kubetest.WriteImages(ctx, s.images); err != nil {
			return s, err
		}
	}
	if s.cluster, err = kubetest.Open(ctx, o); err != nil {
		return s, err
	}
	s.cluster.Digests = digests
	if err := s.deploy(ctx); err != nil {
		return s, err
	}
	if err := s.addReleases(ctx); err != nil {
		return s, err
	}
	if s.real {
		if err := s.answers(ctx); err != nil {
			return s, err
		}
		s.load = s.cluster.StartLoad("http://" + address + "/")
	}
	return s, nil
}

func (s *stage) close() error {
	var errs []error
	if s.load != nil {
		s.load.Stop()
	}
	if s.cluster != nil {
		errs = append(errs, s.cluster.Close())
	}
	if s.images != "" {
		errs = append(errs, os.RemoveAll(s.images))
	}
	return errors.Join(errs...)
}

// image pins the image of a version by its digest. A simulated pod has none: any will do.
func (s *stage) image(version string) string {
	name := "example.test/web:" + version
	digest := s.cluster.Digests[name]
	if digest == "" {
		digest = fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(name)))
	}
	return name + "@" + digest
}

// deploy makes the Deployment and the Service as somebody who knows nothing of Covet would have, and waits for the pods.
func (s *stage) deploy(ctx context.Context) error {
	objects := map[string]string{
		"/apis/apps/v1/namespaces/default/deployments": fmt.Sprintf(deployment, s.image("v1")),
		"/api/v1/namespaces/default/services":          fmt.Sprintf(service, address),
	}
	for path, o := range objects {
		if _, err := s.cluster.Do(ctx, http.MethodPost, path, o); err != nil {
			return err
		}
	}
	for deadline := time.Now().Add(time.Minute); ; {
		var d struct {
			Status struct{ AvailableReplicas int }
		}
		answer, err := s.cluster.Do(ctx, http.MethodGet, "/apis/apps/v1/namespaces/default/deployments/web", "")
		if err == nil {
			err = json.Unmarshal(answer, &d)
		}
		switch {
		case err != nil:
			return err
		case d.Status.AvailableReplicas == 4:
			return nil
		case time.Now().After(deadline):
			return fmt.Errorf("%d of 4 pods are available after a minute", d.Status.AvailableReplicas)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// answers waits until the Service answers. A node learns of a Service some time after its pods are ready, longer on a busy machine:
// what is asked before that fails, and no rollout is to blame.
func (s *stage) answers(ctx context.Context) error {
	client := &http.Client{Timeout: 2 * time.Second, Transport: &http.Transport{DialContext: s.cluster.Dial, DisableKeepAlives: true}}
	var last error
	for deadline, good := time.Now().Add(time.Minute), 0; good < 10; {
		if good++; time.Now().After(deadline) {
			return fmt.Errorf("the Service does not answer after a minute: %w", last)
		}
		resp, err := client.Get("http://" + address + "/")
		if err == nil {
			err = resp.Body.Close()
		}
		if err != nil {
			last, good = err, 0
			time.Sleep(100 * time.Millisecond)
		}
	}
	return ctx.Err()
}

// A pod that goes is asked for as long as the node's kube-proxy has not heard of it: three seconds were too few on a busy machine, and
// a request or two then waited for a pod that was gone.
const deployment = `{"metadata":{"name":"web"},"spec":{
	"replicas":4,"strategy":{"type":"RollingUpdate","rollingUpdate":{"maxSurge":1,"maxUnavailable":0}},
	"selector":{"matchLabels":{"app":"web"}},
	"template":{"metadata":{"labels":{"app":"web"}},"spec":{"terminationGracePeriodSeconds":40,"containers":[{
		"name":"web","image":%q,"imagePullPolicy":"IfNotPresent","ports":[{"containerPort":8080}],
		"readinessProbe":{"httpGet":{"path":"/health/ready","port":8080},"periodSeconds":1},
		"livenessProbe":{"httpGet":{"path":"/health/live","port":8080},"periodSeconds":5},
		"lifecycle":{"preStop":{"sleep":{"seconds":15}}}}]}}}}`

const service = `{"metadata":{"name":"web"},"spec":{"selector":{"app":"web"},"clusterIP":%q,"ports":[{"port":80,"targetPort":8080}]}}`

// addReleases tells covetctl of what there is to roll out.
func (s *stage) addReleases(ctx context.Context) error {
	for _, version := range []string{"v2", "crash"} {
		if code, err := s.run(ctx, "release", "add", version, "--image", s.image(version)); err != nil || code != 0 {
			return errors.Join(fmt.Errorf("covetctl release add %s ended with %d", version, code), err)
		}
	}
	return nil
}

func (s *stage) flags() []string {
	return []string{"--kubeconfig", s.cluster.Kubeconfig, "--namespace", "default", "--deployment", "web"}
}

// run runs covetctl where the person can see it, and returns its exit status.
func (s *stage) run(ctx context.Context, args ...string) (int, error) {
	cmd := exec.CommandContext(ctx, s.covetctl, append(args, s.flags()...)...)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	err := cmd.Run()
	if e := (*exec.ExitError)(nil); errors.As(err, &e) && ctx.Err() == nil {
		return e.ExitCode(), nil
	}
	return 0, err
}
