{{/* Names and labels. */}}

{{- define "posthorn.name" -}}
{{- if contains "posthorn" .Release.Name }}{{ .Release.Name | trunc 30 | trimSuffix "-" }}{{ else }}{{ printf "%s-posthorn" .Release.Name | trunc 30 | trimSuffix "-" }}{{ end }}
{{- end }}

{{- define "posthorn.secret" -}}
{{ .Values.secret.name | default (printf "%s-secrets" (include "posthorn.name" .)) }}
{{- end }}

{{- define "posthorn.host" -}}
{{ .Values.ingress.host | default .Values.settings.server.hostname }}
{{- end }}

{{/* What selects all pods of a release; a Deployment's selector adds its pool. */}}
{{- define "posthorn.selector" -}}
app.kubernetes.io/name: posthorn
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "posthorn.labels" -}}
{{ include "posthorn.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{/* The image of a service: (list root service). */}}
{{- define "posthorn.image" -}}
{{- $root := index . 0 -}}
{{ printf "%s/%s:%s" $root.Values.image.repository (index . 1) ($root.Values.image.tag | default $root.Chart.AppVersion) }}
{{- end }}

{{/* The port at the end of an address to listen on. */}}
{{- define "posthorn.port" -}}
{{- if kindIs "slice" . }}{{ regexFind "[0-9]+$" (first .) }}{{ else }}{{ regexFind "[0-9]+$" . }}{{ end }}
{{- end }}

{{/* The service that serves a listener's protocol. */}}
{{- define "posthorn.serves" -}}
{{- if has . (list "smtp" "submission" "lmtp") }}smtp-in{{ else if has . (list "imap" "pop3" "managesieve") }}imap{{ else if eq . "api" }}maintenance{{ else }}{{ . }}{{ end }}
{{- end }}
