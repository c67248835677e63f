export { type Edited, type OverlayContent, type OverlayEdit, OverlayTable, type Replaced } from './table.ts';
