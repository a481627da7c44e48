{{- define "touchline.labels" -}}
app.kubernetes.io/name: touchline
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end -}}

{{/* Of one tier: a list of the root and the tier's name. These never change, since a Deployment's selector cannot. */}}
{{- define "touchline.selector" -}}
app.kubernetes.io/name: touchline
app.kubernetes.io/instance: {{ (index . 0).Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end -}}

{{- define "touchline.image" -}}
{{- $tag := default .Chart.AppVersion .Values.image.tag -}}
{{- if hasPrefix "@" $tag -}}
{{ .Values.image.repository }}{{ $tag }}
{{- else -}}
{{ .Values.image.repository }}:{{ $tag }}
{{- end -}}
{{- end -}}

{{/* Of a pod: a list of the root, the tier's name, and its seccomp profile. */}}
{{- define "touchline.pod" -}}
{{- $root := index . 0 -}}
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  fsGroup: 65532
  seccompProfile:
    {{- toYaml (index . 2) | nindent 4 }}
{{- with $root.Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $root.Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $root.Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
topologySpreadConstraints:
  - maxSkew: 1
    topologyKey: topology.kubernetes.io/zone
    whenUnsatisfiable: {{ $root.Values.topologySpread.zones }}
    labelSelector:
      matchLabels:
        {{- include "touchline.selector" (list $root (index . 1)) | nindent 8 }}
  - maxSkew: 1
    topologyKey: kubernetes.io/hostname
    whenUnsatisfiable: {{ $root.Values.topologySpread.nodes }}
    labelSelector:
      matchLabels:
        {{- include "touchline.selector" (list $root (index . 1)) | nindent 8 }}
{{- end -}}

{{- define "touchline.container" -}}
image: {{ include "touchline.image" . | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities:
    drop: [ALL]
{{- end -}}

{{/* Where the log and the bus are: files of Secrets, so that no password is in an environment. */}}
{{- define "touchline.backends.env" -}}
- name: EVENTLOG_URL_FILE
  value: /run/secrets/touchline/eventlog/url
- name: BUS_URL_FILE
  value: /run/secrets/touchline/bus/url
- name: TOUCHLINE_LOG_LEVEL
  value: {{ .Values.logLevel | quote }}
{{- end -}}

{{- define "touchline.backends.mounts" -}}
- name: tmp
  mountPath: /tmp
- name: eventlog
  mountPath: /run/secrets/touchline/eventlog
  readOnly: true
- name: bus
  mountPath: /run/secrets/touchline/bus
  readOnly: true
{{- end -}}

{{- define "touchline.backends.volumes" -}}
- name: tmp
  emptyDir:
    sizeLimit: 256Mi
- name: eventlog
  secret:
    secretName: {{ required "eventlog.existingSecret names the Secret with EVENTLOG_URL" .Values.eventlog.existingSecret }}
    items: [{key: {{ .Values.eventlog.key | quote }}, path: url}]
- name: bus
  secret:
    secretName: {{ required "bus.existingSecret names the Secret with BUS_URL" .Values.bus.existingSecret }}
    items: [{key: {{ .Values.bus.key | quote }}, path: url}]
{{- end -}}

{{/* Of `touchline serve`: ready for new viewers and readers, and alive. A Redis that is away is no reason to restart. */}}
{{- define "touchline.probes" -}}
startupProbe:
  httpGet: {path: /readyz, port: admin}
  periodSeconds: 1
  failureThreshold: 60
readinessProbe:
  httpGet: {path: /readyz, port: admin}
  periodSeconds: 2
  timeoutSeconds: 2
  failureThreshold: 2
livenessProbe:
  httpGet: {path: /healthz, port: admin}
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 3
{{- end -}}

{{/* A drain takes at most 30 s (GRACEFUL_TIMEOUT_S in origin/stream/worker/gunicorn_app.py): a list of tier and its values. */}}
{{- define "touchline.checkGrace" -}}
{{- $values := index . 1 -}}
{{- if lt (int $values.terminationGracePeriodSeconds) (add (int $values.preStopSleepSeconds) 35 | int) -}}
{{- fail (printf "%s.terminationGracePeriodSeconds %d: viewers would be cut off; at least preStopSleepSeconds (%d) and 35" (index . 0) (int $values.terminationGracePeriodSeconds) (int $values.preStopSleepSeconds)) -}}
{{- end -}}
{{- end -}}
