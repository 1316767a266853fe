package main

import (
	"encoding/json"
	"errors"
	"fmt"
)

// dashboard is the part of Grafana's dashboard model that is checked.
type dashboard struct {
	Title         string      `json:"title"`
	UID           string      `json:"uid"`
	SchemaVersion int         `json:"schemaVersion"`
	Panels        []jsonPanel `json:"panels"`
}

type jsonPanel struct {
	ID      int    `json:"id"`
	Title   string `json:"title"`
	Type    string `json:"type"`
	GridPos struct {
		H int `json:"h"`
		W int `json:"w"`
		X int `json:"x"`
		Y int `json:"y"`
	} `json:"gridPos"`
	Targets []struct {
		Expr string `json:"expr"`
	} `json:"targets"`
	Panels []jsonPanel `json:"panels"`
}

// panel is what a panel asks for.
type panel struct {
	title string
	exprs []string
}

// columns is how wide a dashboard is.
const columns = 24

// readDashboard returns the panels that ask for something. What Grafana would not load, or show one over the other, is
// refused.
func readDashboard(text []byte) ([]panel, error) {
	var d dashboard
	if err := json.Unmarshal(text, &d); err != nil {
		return nil, err
	}
	if d.Title == "" || d.UID == "" || d.SchemaVersion == 0 {
		return nil, errors.New("no Grafana dashboard: title, uid or schemaVersion is missing")
	}
	var panels []panel
	ids, cells := map[int]bool{}, map[[2]int]string{}
	for _, p := range flat(d.Panels) {
		if p.Title == "" || p.Type == "" || ids[p.ID] {
			return nil, fmt.Errorf("panel %d %q has no title, no type or the ID of another", p.ID, p.Title)
		}
		ids[p.ID] = true
		if err := place(p, cells); err != nil {
			return nil, err
		}
		if p.Type == "row" {
			continue
		}
		one := panel{title: p.Title}
		for _, target := range p.Targets {
			one.exprs = append(one.exprs, target.Expr)
		}
		if len(one.exprs) == 0 {
			return nil, fmt.Errorf("panel %q asks for nothing", p.Title)
		}
		panels = append(panels, one)
	}
	if len(panels) == 0 {
		return nil, errors.New("the dashboard has no panels")
	}
	return panels, nil
}

func flat(panels []jsonPanel) []jsonPanel {
	var all []jsonPanel
	for _, p := range panels {
		all = append(append(all, p), flat(p.Panels)...)
	}
	return all
}

// place takes the panel's cells.
func place(p jsonPanel, cells map[[2]int]string) error {
	g := p.GridPos
	if g.W < 1 || g.H < 1 || g.X < 0 || g.Y < 0 || g.X+g.W > columns {
		return fmt.Errorf("panel %q is not on the grid", p.Title)
	}
	for x := g.X; x < g.X+g.W; x++ {
		for y := g.Y; y < g.Y+g.H; y++ {
			if other, taken := cells[[2]int{x, y}]; taken {
				return fmt.Errorf("panel %q lies over panel %q", p.Title, other)
			}
			cells[[2]int{x, y}] = p.Title
		}
	}
	return nil
}
