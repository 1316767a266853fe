#!/usr/bin/env bash
# Makes the deep copies of api/ and config/, and the chart's CRDs (make generate).
set -euo pipefail
cd "$(dirname "$0")/.."
"${CONTROLLER_GEN:-bin/controller-gen}" object crd:crdVersions=v1 output:crd:artifacts:config=charts/vic/crds "paths=./api/...;./config"
