{{/* A pod of a pool: (dict "root" . "pool" pool). One container for each service, all of one node. */}}

{{- define "posthorn.pod" -}}
{{- $root := .root -}}
{{- $pool := .pool -}}
{{- $values := $root.Values -}}
metadata:
  labels:
    {{- include "posthorn.selector" $root | nindent 4 }}
    app.kubernetes.io/component: {{ $pool.name }}
    {{- range $pool.services }}
    posthorn/serves-{{ . }}: "true"
    {{- end }}
    {{- with $pool.region }}
    posthorn/region: {{ . | quote }}
    {{- end }}
    {{- with $values.podLabels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  annotations:
    checksum/settings: {{ include "posthorn.settings" $root | sha256sum }}
    {{- with $values.podAnnotations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  {{- include "posthorn.pod.common" (dict "root" $root "settings" (include "posthorn.name" $root)) | nindent 2 }}
  terminationGracePeriodSeconds: {{ add $values.drain.delay $values.drain.limit $values.drain.stop 5 }}
  {{- $selector := merge (dict) ($pool.nodeSelector | default dict) $values.scheduling.nodeSelector }}
  {{- if and $pool.region $values.scheduling.regionLabel }}
  {{- $_ := set $selector $values.scheduling.regionLabel $pool.region }}
  {{- end }}
  {{- with $selector }}
  nodeSelector: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with concat $values.scheduling.tolerations ($pool.tolerations | default list) }}
  tolerations: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- if $values.scheduling.spread }}
  topologySpreadConstraints:
    {{- range list "kubernetes.io/hostname" "topology.kubernetes.io/zone" }}
    - maxSkew: 1
      topologyKey: {{ . }}
      whenUnsatisfiable: ScheduleAnyway
      labelSelector:
        matchLabels:
          {{- include "posthorn.selector" $root | nindent 10 }}
          app.kubernetes.io/component: {{ $pool.name }}
      matchLabelKeys: [pod-template-hash]
    {{- end }}
  {{- end }}
  containers:
    {{- range $service := $pool.services }}
    {{- include "posthorn.container" (dict "root" $root "pool" $pool "service" $service) | nindent 4 }}
    {{- end }}
{{- end }}

{{/* What pods of services and of the migration have in common: (dict "root" . "settings" name-of-ConfigMap). */}}
{{- define "posthorn.pod.common" -}}
{{- $values := .root.Values -}}
automountServiceAccountToken: false
enableServiceLinks: false
{{- with $values.scheduling.serviceAccountName }}
serviceAccountName: {{ . }}
{{- end }}
{{- with $values.scheduling.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with $values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile: {type: RuntimeDefault}
volumes:
  - name: settings
    configMap: {name: {{ .settings }}}
  - name: data
    emptyDir: {}
  - name: tmp
    emptyDir: {}
  {{- if $values.tls.secretName }}
  - name: tls
    secret: {secretName: {{ $values.tls.secretName }}, defaultMode: 0440}
  {{- end }}
  {{- if $values.blobCache.enabled }}
  - name: cache
    emptyDir: {}
  {{- end }}
  {{- with $values.extra.volumes }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}

{{- define "posthorn.container.common" -}}
imagePullPolicy: {{ .Values.image.pullPolicy }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
volumeMounts:
  - {name: settings, mountPath: /etc/posthorn/node.toml, subPath: node.toml, readOnly: true}
  - {name: data, mountPath: /var/lib/posthorn}
  - {name: tmp, mountPath: /tmp}
  {{- if .Values.tls.secretName }}
  - {name: tls, mountPath: /etc/posthorn/tls, readOnly: true}
  {{- end }}
  {{- if .Values.blobCache.enabled }}
  - {name: cache, mountPath: /var/cache/posthorn}
  {{- end }}
  {{- with .Values.extra.volumeMounts }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}

{{- define "posthorn.environment" -}}
- name: POSTHORN_CONFIG
  value: /etc/posthorn/node.toml
{{- range $variable, $key := .Values.secret.environment }}
{{- if $key }}
- name: {{ $variable }}
  valueFrom: {secretKeyRef: {name: {{ include "posthorn.secret" $ }}, key: {{ $key }}}}
{{- end }}
{{- end }}
{{- with .Values.extra.env }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* A service of a pod: (dict "root" . "pool" pool "service" name). */}}
{{- define "posthorn.container" -}}
{{- $root := .root -}}
{{- $pool := .pool -}}
{{- $service := .service -}}
{{- $vitals := include "posthorn.vitals" (list $root $service) -}}
- name: {{ $service }}
  image: {{ include "posthorn.image" (list $root $service) }}
  {{- include "posthorn.container.common" $root | nindent 2 }}
  env:
    # The pod is the node: its containers share one node id, and keep it when they are started again.
    - name: POSTHORN_NODE_TOKEN
      valueFrom: {fieldRef: {fieldPath: metadata.uid}}
    - name: POSTHORN__CLUSTER__PEER_BIND
      value: "*:{{ include "posthorn.peer" (list $root $service) }}"
    - name: POSTHORN__CLUSTER__PEER_ADVERTISE
      valueFrom: {fieldRef: {fieldPath: status.podIP}}
    {{- with $pool.region }}
    - name: POSTHORN__CLUSTER__REGION
      value: {{ . | quote }}
    {{- end }}
    {{- include "posthorn.overrides" (dict "prefix" "POSTHORN" "table" ($pool.settings | default dict)) | nindent 4 }}
    {{- include "posthorn.environment" $root | nindent 4 }}
  ports:
    {{- range $name, $listener := $root.Values.settings.server.listener }}
    {{- if and $listener (eq $service (include "posthorn.serves" $listener.protocol)) }}
    - {name: {{ $name }}, containerPort: {{ include "posthorn.port" $listener.bind }}}
    {{- end }}
    {{- end }}
    - {name: {{ include "posthorn.vitals.name" $service }}, containerPort: {{ $vitals }}}
    - {name: {{ printf "p-%s" $service }}, containerPort: {{ include "posthorn.peer" (list $root $service) }}}
  # Alive from the first moment; ready when the service accepts work and the database and the blob store answer.
  startupProbe:
    httpGet: {path: /health/live, port: {{ $vitals }}}
    periodSeconds: 2
    timeoutSeconds: 2
    failureThreshold: 60
  livenessProbe:
    httpGet: {path: /health/live, port: {{ $vitals }}}
    periodSeconds: 10
    timeoutSeconds: 5
    failureThreshold: 6
  readinessProbe:
    httpGet: {path: /health/ready, port: {{ $vitals }}}
    periodSeconds: 5
    timeoutSeconds: 4
    failureThreshold: 2
  {{- with index ($pool.resources | default dict) $service | default (index $root.Values.resources $service) }}
  resources: {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}

{{/* The port of a service's health checks and metrics, its name, and the port for other nodes. */}}
{{- define "posthorn.vitals" -}}
{{ include "posthorn.port" (index (index . 0).Values.settings.metrics.binds (index . 1)) }}
{{- end }}

{{- define "posthorn.vitals.name" -}}
{{ printf "m-%s" . }}
{{- end }}

{{- define "posthorn.peer" -}}
{{ add 100 (include "posthorn.vitals" .) }}
{{- end }}
