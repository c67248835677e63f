export { labs as default } from './ava.config.js';
