// Package vch administers VCHs on vSphere: it makes what a VCH needs, checks it, and removes it. What runs VMs in a VCH is
// package vsphere; both have its Config, and no pod needs anything of this one.
//
//	steps, err := vch.PlanCreate(ctx, cfg, vch.Options{BootISO: iso}) // changes nothing
//	err = vch.Create(ctx, steps)
package vch
