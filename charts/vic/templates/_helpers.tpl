{{- define "vic.name" -}}
{{- .Release.Name | replace "." "-" | trunc 53 | trimSuffix "-" -}}
{{- end -}}

{{- define "vic.serviceAccount" -}}
{{- .Values.serviceAccount.name | default (include "vic.name" .) -}}
{{- end -}}

{{- define "vic.selector" -}}
app.kubernetes.io/name: vic
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "vic.labels" -}}
{{ include "vic.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{- define "vic.image" -}}
{{- $repository := required "image.repository is needed: no registry has this image yet (make image builds it)" .Values.image.repository -}}
{{- if .Values.image.digest -}}
{{ $repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ $repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end -}}
