package prognosis

import "errors"

// Trees learns with boosted trees on drift, see package rul.
type Trees struct {
	Count int // of trees; 0: rul's default. Fewer are for tests
}

var errModel = errors.New("not a model that this version of Fettle reads")

// Learn makes a model of lives.
func (t Trees) Learn([]string, []Series) (Foresight, error) { return nil, errModel }

// Open reads what MarshalBinary gave.
func (t Trees) Open([]byte) (Foresight, error) { return nil, errModel }
