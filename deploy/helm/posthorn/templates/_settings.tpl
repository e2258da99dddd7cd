{{/* The settings file: what the values say and what the chart adds, as TOML. */}}

{{- define "posthorn.settings" -}}
{{- $settings := deepCopy .Values.settings -}}
{{- $_ := set $settings.server "drain-delay" (printf "%ds" (int .Values.drain.delay)) -}}
{{- $_ := set $settings.server "drain-limit" (printf "%ds" (int .Values.drain.limit)) -}}
{{- $_ := set $settings.server "stop-limit" (printf "%ds" (int .Values.drain.stop)) -}}
{{- if .Values.tls.secretName -}}
{{- $_ := set $settings.server "tls" (dict "certificate" "/etc/posthorn/tls/tls.crt" "private-key" "/etc/posthorn/tls/tls.key") -}}
{{- end -}}
{{- if .Values.blobCache.enabled -}}
{{- $cache := dict "path" "/var/cache/posthorn" "size" .Values.blobCache.size -}}
{{- $_ := set $settings "storage" (mergeOverwrite (deepCopy $settings.storage) (dict "blobs" (dict "cache" $cache))) -}}
{{- end -}}
{{- range $name, $listener := $settings.server.listener -}}
{{- if has $listener.protocol (list "jmap" "dav" "api") -}}
{{- if not $listener.url }}{{ $_ := set $listener "url" (printf "https://%s" (include "posthorn.host" $)) }}{{ end -}}
{{- else if $.Values.proxyProtocol.networks -}}
{{- if not (hasKey $listener "proxy-networks") }}{{ $_ := set $listener "proxy-networks" $.Values.proxyProtocol.networks }}{{ end -}}
{{- end -}}
{{- end -}}
{{ include "posthorn.toml" (dict "path" list "table" $settings) | trim }}
{{- end }}

{{/* A table and what is below it. */}}
{{- define "posthorn.toml" -}}
{{- $path := .path -}}
{{- range $key, $value := .table }}
{{- if not (or (kindIs "map" $value) (kindIs "invalid" $value)) }}
{{ include "posthorn.toml.key" $key }} = {{ include "posthorn.toml.value" $value }}
{{- end }}
{{- end }}
{{- range $key, $value := .table }}
{{- if kindIs "map" $value }}
{{- $below := append $path (include "posthorn.toml.key" $key) }}

[{{ join "." $below }}]
{{- include "posthorn.toml" (dict "path" $below "table" $value) }}
{{- end }}
{{- end }}
{{- end }}

{{- define "posthorn.toml.key" -}}
{{- if regexMatch "^[A-Za-z0-9_-]+$" . }}{{ . }}{{ else }}{{ toJson . }}{{ end }}
{{- end }}

{{/* Numbers of a values file are floats, whole ones too. */}}
{{- define "posthorn.toml.value" -}}
{{- if kindIs "slice" . -}}
[{{ range $index, $item := . }}{{ if $index }}, {{ end }}{{ include "posthorn.toml.value" $item }}{{ end }}]
{{- else if kindIs "map" . -}}
{{ fail "settings: a list of tables cannot be given" }}
{{- else if kindIs "string" . -}}
{{ toJson . }}
{{- else if kindIs "bool" . -}}
{{ . }}
{{- else if eq (float64 .) (floor .) -}}
{{ int64 . }}
{{- else -}}
{{ . }}
{{- end -}}
{{- end }}

{{/* The same as variables POSTHORN__...: (dict "prefix" "POSTHORN" "table" settings). */}}
{{- define "posthorn.overrides" -}}
{{- $prefix := .prefix -}}
{{- range $key, $value := .table }}
{{- $name := printf "%s__%s" $prefix ($key | upper | replace "-" "_") }}
{{- if kindIs "map" $value }}
{{- include "posthorn.overrides" (dict "prefix" $name "table" $value) }}
{{- else if not (kindIs "invalid" $value) }}
- name: {{ $name }}
  value: {{ include "posthorn.toml.value" $value | quote }}
{{- end }}
{{- end }}
{{- end }}
