// Package downward evaluates the references with which a pod reads itself: fieldRef and resourceFieldRef, the same in
// environment variables and in volumes.
//
//	v, err := downward.Field(pod, &corev1.ObjectFieldSelector{FieldPath: "metadata.labels['app']"}, in)
package downward
