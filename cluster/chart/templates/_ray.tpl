{{/* Parts of Ray's pods. A part is called with (dict "root" $ ...). */}}

{{- define "zooaudit.image" -}}
{{- $image := .root.Values.image -}}
{{- $kind := ternary "cuda" "cpu" .cuda -}}
{{- with $image.registry }}{{ trimSuffix "/" . }}/{{ end }}{{ $image.repository }}:{{ $image.tag | default .root.Chart.AppVersion }}-{{ $kind }}
{{- with get $image.digests $kind }}@{{ . }}{{ end }}
{{- end }}

{{- define "zooaudit.confined" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
runAsNonRoot: true
capabilities: {drop: [ALL]}
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "zooaudit.cluster" -}}
rayVersion: 2.60.0 # as in constraints.txt and in the images
authOptions:
  mode: token
  secretName: {{ .Values.ray.tokenSecret }}
{{- end }}

{{- define "zooaudit.autoscaler" -}}
enableInTreeAutoscaling: true
autoscalerOptions:
  version: v2
  upscalingMode: Default
  idleTimeoutSeconds: {{ .Values.cluster.idleSeconds }}
  resources:
    requests: {cpu: 200m, memory: 512Mi}
    limits: {cpu: 500m, memory: 1Gi}
  volumeMounts:
    - {name: tmp, mountPath: /tmp}
  securityContext:
    {{- include "zooaudit.confined" . | nindent 4 }}
{{- end }}

{{/* Settings and keys of a pod; serves: of the scoring service's too. */}}
{{- define "zooaudit.environment" -}}
{{- $values := .root.Values -}}
envFrom:
  - configMapRef: {name: {{ .root.Release.Name }}-s3}
  {{- if .serves }}
  - configMapRef: {name: {{ .root.Release.Name }}-serve}
  {{- end }}
{{- if or $values.s3.secret .serves }}
env:
  {{- with $values.s3.secret }}
  - name: AWS_ACCESS_KEY_ID
    valueFrom: {secretKeyRef: {name: {{ . }}, key: AWS_ACCESS_KEY_ID}}
  - name: AWS_SECRET_ACCESS_KEY
    valueFrom: {secretKeyRef: {name: {{ . }}, key: AWS_SECRET_ACCESS_KEY}}
  {{- end }}
  {{- if .serves }}
  - name: ZOOAUDIT_SERVE_KEYS_SHA256 # the head too: the application may be built on any node
    valueFrom: {secretKeyRef: {name: {{ $values.scoring.keysSecret }}, key: keys_sha256}}
  {{- end }}
{{- end }}
{{- end }}

{{/* Ray's agent answers for the raylet and, on the head, for the GCS, without a token. Serve's proxy knows its replicas. */}}
{{- define "zooaudit.probes" -}}
readinessProbe:
  {{- if and .serves (not .head) }}
  httpGet: {path: /-/healthz, port: 8000}
  failureThreshold: 3
  {{- else }}
  httpGet: {path: /api/healthz, port: 52365}
  failureThreshold: 10
  {{- end }}
  initialDelaySeconds: 10
  periodSeconds: 5
  timeoutSeconds: 5
livenessProbe:
  httpGet: {path: /api/healthz, port: 52365}
  initialDelaySeconds: 30
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 12
{{- end }}

{{- define "zooaudit.ports" -}}
ports:
  {{- if .head }}
  - {name: gcs-server, containerPort: 6379}
  - {name: dashboard, containerPort: 8265}
  - {name: client, containerPort: 10001}
  {{- end }}
  - {name: metrics, containerPort: 8080}
  {{- if .serves }}
  - {name: serve, containerPort: 8000} # KubeRay takes the Service's port from here
  {{- end }}
{{- end }}

{{/* The root file system is read-only. shm is Ray's object store and counts as the container's memory. */}}
{{- define "zooaudit.volumes" -}}
{{- $auditing := and .serves .root.Values.scoring.auditor.enabled -}}
volumes:
  - {name: shm, emptyDir: {medium: Memory, sizeLimit: {{ ternary "1Gi" "2Gi" .serves }}}}
  - {name: tmp, emptyDir: {sizeLimit: {{ ternary "10Gi" "20Gi" .serves }}}}
  - {name: home, emptyDir: {sizeLimit: {{ ternary "5Gi" "1Gi" .serves }}}}
  {{- if .claim }}
  - {name: data, persistentVolumeClaim: {claimName: {{ .claim }}}}
  {{- else if $auditing }}
  - {name: data, emptyDir: {sizeLimit: 1Gi}} # the log of who asked what, as long as the pod
  {{- end }}
{{- end }}

{{/*
A pod of Ray. root, resources; head: the head's; serves: of the scoring service; cuda: with the CUDA image; claim: of the auditor's volume;
spread: over machines, and a pod that is to go answers until everybody sends requests elsewhere; nodeSelector, tolerations.
*/}}
{{- define "zooaudit.pod" -}}
metadata:
  labels:
    zooaudit.io/service: {{ ternary "scoring" "audits" .serves }} # the network policies select it
  annotations:
    cluster-autoscaler.kubernetes.io/safe-to-evict: "false"
spec:
  serviceAccountName: {{ .root.Release.Name }}-{{ ternary "head" "worker" .head }}
  {{- if not .head }}
  automountServiceAccountToken: false
  {{- end }}
  restartPolicy: Never # autoscaler v2 wants it; KubeRay makes a new pod
  {{- with .root.Values.image.pullSecrets }}
  imagePullSecrets:
    {{- range . }}
    - name: {{ . }}
    {{- end }}
  {{- end }}
  securityContext:
    runAsUser: 1000
    runAsGroup: 1000
    fsGroup: 1000
  {{- with .nodeSelector }}
  nodeSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .tolerations }}
  tolerations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- if .spread }}
  terminationGracePeriodSeconds: 60 # 15 s as below, and the 30 s in which Ray drains a node that is told to end
  topologySpreadConstraints: # on machines of their own, if there are enough of them
    - maxSkew: 1
      topologyKey: kubernetes.io/hostname
      whenUnsatisfiable: ScheduleAnyway
      labelSelector: {matchLabels: {zooaudit.io/service: scoring, ray.io/node-type: worker}}
  {{- end }}
  containers:
    - name: {{ ternary "ray-head" "ray-worker" .head }}
      image: {{ include "zooaudit.image" . }}
      {{- include "zooaudit.ports" . | nindent 6 }}
      resources:
        {{- toYaml .resources | nindent 8 }}
      {{- if .spread }}
      lifecycle:
        preStop: {exec: {command: [sleep, "15"]}}
      {{- end }}
      {{- include "zooaudit.environment" . | nindent 6 }}
      {{- include "zooaudit.probes" . | nindent 6 }}
      securityContext:
        {{- include "zooaudit.confined" . | nindent 8 }}
      volumeMounts:
        - {name: shm, mountPath: /dev/shm}
        - {name: tmp, mountPath: /tmp}
        - {name: home, mountPath: /home/zooaudit}
        {{- if and .serves .root.Values.scoring.auditor.enabled }}
        - {name: data, mountPath: /data}
        {{- end }}
  {{- include "zooaudit.volumes" . | nindent 2 }}
{{- end }}

{{- define "zooaudit.audits.head" -}}
headGroupSpec:
  serviceType: ClusterIP
  rayStartParams:
    num-cpus: "0" # no training here: the head holds Ray's state and the jobs' drivers
    dashboard-host: 0.0.0.0
    metrics-export-port: "8080"
    object-store-memory: "1000000000"
  template:
    {{- $head := dict "root" . "head" true "serves" false "cuda" false "resources" .Values.cluster.head.resources }}
    {{- include "zooaudit.pod" $head | nindent 4 }}
{{- end }}

{{/* A group of workers for audits: root, name, group (of the values), and most and least or pods. */}}
{{- define "zooaudit.audits.group" -}}
- groupName: {{ .name }}
  replicas: {{ .least }}
  minReplicas: {{ .least }}
  maxReplicas: {{ .most }}
  {{- with .idle }}
  idleTimeoutSeconds: {{ . }}
  {{- end }}
  rayStartParams:
    metrics-export-port: "8080"
    object-store-memory: "1000000000"
  template:
    {{- $pod := dict "root" .root "head" false "serves" false "cuda" .group.cuda "resources" .group.resources }}
    {{- $placed := dict "nodeSelector" .group.nodeSelector "tolerations" .group.tolerations }}
    {{- include "zooaudit.pod" (merge $pod $placed) | nindent 4 }}
{{- end }}
