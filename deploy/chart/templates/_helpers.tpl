{{/* Of every object. Called with a dict of `root` and `name`. */}}
{{- define "stillpoint.labels" -}}
app.kubernetes.io/name: {{ .name }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- end }}

{{/* Called with a dict of `root`, `name` and `image`. */}}
{{- define "stillpoint.image" -}}
{{- with .root.Values.image -}}
{{- $.image | default (printf "%s/%s:%s" (required "image.registry: where your images are, as in registry.example.com/stillpoint" .registry) $.name (.tag | default $.root.Chart.AppVersion)) -}}
{{- end -}}
{{- end }}

{{- define "stillpoint.velero" -}}
{{ .Values.velero.namespace | default .Release.Namespace }}
{{- end }}

{{/* A (cluster) role's binding to an account. Called with a dict of `root`, `name`, `kind`, `namespace`, `account`, `of`. */}}
{{- define "stillpoint.binding" -}}
apiVersion: rbac.authorization.k8s.io/v1
kind: {{ .kind }}Binding
metadata:
  name: {{ .name }}
  {{- with .namespace }}
  namespace: {{ . }}
  {{- end }}
  labels: {{- include "stillpoint.labels" . | nindent 4 }}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: {{ .kind }}, name: {{ .name }}}
subjects: [{kind: ServiceAccount, namespace: {{ .of }}, name: {{ .account }}}]
{{- end }}
